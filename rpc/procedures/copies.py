"""Copy data between files and devices of the guest."""

from typing import Final, NamedTuple

from rpc.codec import VOID, Device, DeviceOrPath, GuestPath, Int64
from rpc.procedure import Procedure


class CopyDeviceToDeviceArgs(NamedTuple):
    """Carry the arguments of ``copy_device_to_device``."""

    src: Device
    dest: Device
    srcoffset: Int64 | None = None
    destoffset: Int64 | None = None
    size: Int64 | None = None
    sparse: bool | None = None
    append: bool | None = None


class CopyDeviceToFileArgs(NamedTuple):
    """Carry the arguments of ``copy_device_to_file``."""

    src: Device
    dest: GuestPath
    srcoffset: Int64 | None = None
    destoffset: Int64 | None = None
    size: Int64 | None = None
    sparse: bool | None = None
    append: bool | None = None


class CopyFileToDeviceArgs(NamedTuple):
    """Carry the arguments of ``copy_file_to_device``."""

    src: GuestPath
    dest: Device
    srcoffset: Int64 | None = None
    destoffset: Int64 | None = None
    size: Int64 | None = None
    sparse: bool | None = None
    append: bool | None = None


class CopyFileToFileArgs(NamedTuple):
    """Carry the arguments of ``copy_file_to_file``."""

    src: GuestPath
    dest: GuestPath
    srcoffset: Int64 | None = None
    destoffset: Int64 | None = None
    size: Int64 | None = None
    sparse: bool | None = None
    append: bool | None = None


class CopySizeArgs(NamedTuple):
    """Carry the arguments of ``copy_size``."""

    src: DeviceOrPath
    dest: DeviceOrPath
    size: Int64


class DdArgs(NamedTuple):
    """Carry the arguments of ``dd``."""

    src: DeviceOrPath
    dest: DeviceOrPath


COPY_DEVICE_TO_DEVICE: Final = Procedure(
    number=294, name="copy_device_to_device", args=CopyDeviceToDeviceArgs, result=VOID
)
COPY_DEVICE_TO_FILE: Final = Procedure(number=295, name="copy_device_to_file", args=CopyDeviceToFileArgs, result=VOID)
COPY_FILE_TO_DEVICE: Final = Procedure(number=296, name="copy_file_to_device", args=CopyFileToDeviceArgs, result=VOID)
COPY_FILE_TO_FILE: Final = Procedure(number=297, name="copy_file_to_file", args=CopyFileToFileArgs, result=VOID)
COPY_SIZE: Final = Procedure(number=227, name="copy_size", args=CopySizeArgs, result=VOID)
DD: Final = Procedure(number=217, name="dd", args=DdArgs, result=VOID)
