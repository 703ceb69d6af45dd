"""Read and write the data of files in one message."""

from typing import Final, NamedTuple

from rpc.codec import INT32, OPAQUE, VOID, Device, GuestPath, Int32, Int64
from rpc.procedure import Procedure


class PreadArgs(NamedTuple):
    """Carry the arguments of ``pread``."""

    path: GuestPath
    count: Int32  # type: ignore[assignment]  # hides tuple.count
    offset: Int64


class PreadDeviceArgs(NamedTuple):
    """Carry the arguments of ``pread_device``."""

    device: Device
    count: Int32  # type: ignore[assignment]  # hides tuple.count
    offset: Int64


class PwriteArgs(NamedTuple):
    """Carry the arguments of ``pwrite``."""

    path: GuestPath
    content: bytes
    offset: Int64


class PwriteDeviceArgs(NamedTuple):
    """Carry the arguments of ``pwrite_device``."""

    device: Device
    content: bytes
    offset: Int64


class InternalWriteArgs(NamedTuple):
    """Carry the arguments of ``internal_write``, ``internal_write_append``."""

    path: GuestPath
    content: bytes


PREAD: Final = Procedure(number=207, name="pread", args=PreadArgs, result=OPAQUE)
PREAD_DEVICE: Final = Procedure(number=276, name="pread_device", args=PreadDeviceArgs, result=OPAQUE)
PWRITE: Final = Procedure(number=247, name="pwrite", args=PwriteArgs, result=INT32)
PWRITE_DEVICE: Final = Procedure(number=275, name="pwrite_device", args=PwriteDeviceArgs, result=INT32)
INTERNAL_WRITE: Final = Procedure(number=246, name="internal_write", args=InternalWriteArgs, result=VOID)
INTERNAL_WRITE_APPEND: Final = Procedure(number=290, name="internal_write_append", args=InternalWriteArgs, result=VOID)
