"""Set the length of files, reserve space and fill it."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs, PathArgs
from rpc.codec import BOOL, VOID, GuestPath, Int32, Int64
from rpc.procedure import Procedure


class WriteFileArgs(NamedTuple):
    """Carry the arguments of ``write_file``."""

    path: GuestPath
    content: str
    size: Int32


class TruncateSizeArgs(NamedTuple):
    """Carry the arguments of ``truncate_size``."""

    path: GuestPath
    size: Int64


class FallocateArgs(NamedTuple):
    """Carry the arguments of ``fallocate``."""

    path: GuestPath
    len: Int32


class Fallocate64Args(NamedTuple):
    """Carry the arguments of ``fallocate64``."""

    path: GuestPath
    len: Int64


class FillArgs(NamedTuple):
    """Carry the arguments of ``fill``."""

    c: Int32
    len: Int32
    path: GuestPath


class FillPatternArgs(NamedTuple):
    """Carry the arguments of ``fill_pattern``."""

    pattern: str
    len: Int32
    path: GuestPath


class ZeroFreeSpaceArgs(NamedTuple):
    """Carry the arguments of ``zero_free_space``."""

    directory: GuestPath


WRITE_FILE: Final = Procedure(number=44, name="write_file", args=WriteFileArgs, result=VOID)
TRUNCATE: Final = Procedure(number=199, name="truncate", args=PathArgs, result=VOID)
TRUNCATE_SIZE: Final = Procedure(number=200, name="truncate_size", args=TruncateSizeArgs, result=VOID)
FALLOCATE: Final = Procedure(number=169, name="fallocate", args=FallocateArgs, result=VOID)
FALLOCATE64: Final = Procedure(number=252, name="fallocate64", args=Fallocate64Args, result=VOID)
FILL: Final = Procedure(number=215, name="fill", args=FillArgs, result=VOID)
FILL_PATTERN: Final = Procedure(number=245, name="fill_pattern", args=FillPatternArgs, result=VOID)
IS_ZERO: Final = Procedure(number=283, name="is_zero", args=PathArgs, result=BOOL)
IS_ZERO_DEVICE: Final = Procedure(number=284, name="is_zero_device", args=DeviceArgs, result=BOOL)
ZERO: Final = Procedure(number=85, name="zero", args=DeviceArgs, result=VOID)
ZERO_DEVICE: Final = Procedure(number=228, name="zero_device", args=DeviceArgs, result=VOID)
ZERO_FREE_SPACE: Final = Procedure(number=311, name="zero_free_space", args=ZeroFreeSpaceArgs, result=VOID)
