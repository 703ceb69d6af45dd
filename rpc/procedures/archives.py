"""Move archives, compressed files and lists of checksums between host and guest."""

from typing import Final, NamedTuple

from rpc.codec import VOID, Device, GuestPath, Int32
from rpc.procedure import Procedure, Transfer


class TarInArgs(NamedTuple):
    """Carry the arguments of ``tar_in``."""

    directory: GuestPath
    compress: str | None = None
    xattrs: bool | None = None
    selinux: bool | None = None
    acls: bool | None = None


class TarOutArgs(NamedTuple):
    """Carry the arguments of ``tar_out``."""

    directory: str
    compress: str | None = None
    numericowner: bool | None = None
    excludes: list[str] | None = None
    xattrs: bool | None = None
    selinux: bool | None = None
    acls: bool | None = None


class TgzInArgs(NamedTuple):
    """Carry the arguments of ``tgz_in``, ``tgz_out``, ``txz_in``, ``txz_out``."""

    directory: GuestPath


class CpioOutArgs(NamedTuple):
    """Carry the arguments of ``cpio_out``."""

    directory: str
    format: str | None = None


class Base64InArgs(NamedTuple):
    """Carry the arguments of ``base64_in``, ``base64_out``."""

    filename: GuestPath


class ChecksumsOutArgs(NamedTuple):
    """Carry the arguments of ``checksums_out``."""

    csumtype: str
    directory: GuestPath


class CompressOutArgs(NamedTuple):
    """Carry the arguments of ``compress_out``."""

    ctype: str
    file: GuestPath
    level: Int32 | None = None


class CompressDeviceOutArgs(NamedTuple):
    """Carry the arguments of ``compress_device_out``."""

    ctype: str
    device: Device
    level: Int32 | None = None


TAR_IN: Final = Procedure(number=69, name="tar_in", args=TarInArgs, result=VOID, transfer=Transfer.FILE_IN)
TAR_OUT: Final = Procedure(number=70, name="tar_out", args=TarOutArgs, result=VOID, transfer=Transfer.FILE_OUT)
TGZ_IN: Final = Procedure(number=71, name="tgz_in", args=TgzInArgs, result=VOID, transfer=Transfer.FILE_IN)
TGZ_OUT: Final = Procedure(number=72, name="tgz_out", args=TgzInArgs, result=VOID, transfer=Transfer.FILE_OUT)
TXZ_IN: Final = Procedure(number=229, name="txz_in", args=TgzInArgs, result=VOID, transfer=Transfer.FILE_IN)
TXZ_OUT: Final = Procedure(number=230, name="txz_out", args=TgzInArgs, result=VOID, transfer=Transfer.FILE_OUT)
CPIO_OUT: Final = Procedure(number=419, name="cpio_out", args=CpioOutArgs, result=VOID, transfer=Transfer.FILE_OUT)
BASE64_IN: Final = Procedure(number=242, name="base64_in", args=Base64InArgs, result=VOID, transfer=Transfer.FILE_IN)
BASE64_OUT: Final = Procedure(number=243, name="base64_out", args=Base64InArgs, result=VOID, transfer=Transfer.FILE_OUT)
CHECKSUMS_OUT: Final = Procedure(
    number=244, name="checksums_out", args=ChecksumsOutArgs, result=VOID, transfer=Transfer.FILE_OUT
)
COMPRESS_OUT: Final = Procedure(
    number=291, name="compress_out", args=CompressOutArgs, result=VOID, transfer=Transfer.FILE_OUT
)
COMPRESS_DEVICE_OUT: Final = Procedure(
    number=292, name="compress_device_out", args=CompressDeviceOutArgs, result=VOID, transfer=Transfer.FILE_OUT
)
