"""Probe, resize, repair and copy NTFS filesystems."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs
from rpc.codec import INT32, VOID, Device, Int64
from rpc.procedure import Procedure, Transfer


class Ntfs3gProbeArgs(NamedTuple):
    """Carry the arguments of ``ntfs_3g_probe``."""

    rw: bool
    device: Device


class NtfsresizeArgs(NamedTuple):
    """Carry the arguments of ``ntfsresize``."""

    device: Device
    size: Int64 | None = None
    force: bool | None = None


class NtfsresizeSizeArgs(NamedTuple):
    """Carry the arguments of ``ntfsresize_size``."""

    device: Device
    size: Int64


class NtfsfixArgs(NamedTuple):
    """Carry the arguments of ``ntfsfix``."""

    device: Device
    clearbadsectors: bool | None = None


class NtfscloneOutArgs(NamedTuple):
    """Carry the arguments of ``ntfsclone_out``."""

    device: Device
    metadataonly: bool | None = None
    rescue: bool | None = None
    ignorefscheck: bool | None = None
    preservetimestamps: bool | None = None
    force: bool | None = None


NTFS_3G_PROBE: Final = Procedure(number=110, name="ntfs_3g_probe", args=Ntfs3gProbeArgs, result=INT32)
NTFSRESIZE: Final = Procedure(number=288, name="ntfsresize", args=NtfsresizeArgs, result=VOID)
NTFSRESIZE_SIZE: Final = Procedure(number=250, name="ntfsresize_size", args=NtfsresizeSizeArgs, result=VOID)
NTFSFIX: Final = Procedure(number=307, name="ntfsfix", args=NtfsfixArgs, result=VOID)
NTFSCLONE_OUT: Final = Procedure(
    number=308, name="ntfsclone_out", args=NtfscloneOutArgs, result=VOID, transfer=Transfer.FILE_OUT
)
NTFSCLONE_IN: Final = Procedure(
    number=309, name="ntfsclone_in", args=DeviceArgs, result=VOID, transfer=Transfer.FILE_IN
)
