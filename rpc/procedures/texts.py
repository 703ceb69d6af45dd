"""Look into files."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs
from rpc.codec import BOOL, INT32, OPAQUE, STRING, STRING_LIST, Device, DeviceOrPath, GuestPath, Int32
from rpc.procedure import Procedure


class FileArgs(NamedTuple):
    """Carry the arguments of ``file``."""

    path: DeviceOrPath


class ChecksumArgs(NamedTuple):
    """Carry the arguments of ``checksum``."""

    csumtype: str
    path: GuestPath


class ChecksumDeviceArgs(NamedTuple):
    """Carry the arguments of ``checksum_device``."""

    csumtype: str
    device: Device


class HeadNArgs(NamedTuple):
    """Carry the arguments of ``head_n``, ``tail_n``."""

    nrlines: Int32
    path: GuestPath


class StringsEArgs(NamedTuple):
    """Carry the arguments of ``strings_e``."""

    encoding: str
    path: GuestPath


class EqualArgs(NamedTuple):
    """Carry the arguments of ``equal``."""

    file1: GuestPath
    file2: GuestPath


class GrepArgs(NamedTuple):
    """Carry the arguments of ``grep``."""

    regex: str
    path: GuestPath
    extended: bool | None = None
    fixed: bool | None = None
    insensitive: bool | None = None
    compressed: bool | None = None


class EgrepArgs(NamedTuple):
    """Carry the arguments of ``egrep``, ``grepi``, ``egrepi``, ``zgrep``, ``zegrep``, ``zgrepi``, ``zegrepi``."""

    regex: str
    path: GuestPath


class FgrepArgs(NamedTuple):
    """Carry the arguments of ``fgrep``, ``fgrepi``, ``zfgrep``, ``zfgrepi``."""

    pattern: str
    path: GuestPath


class ZfileArgs(NamedTuple):
    """Carry the arguments of ``zfile``."""

    meth: str
    path: GuestPath


class InitrdCatArgs(NamedTuple):
    """Carry the arguments of ``initrd_cat``."""

    initrdpath: GuestPath
    filename: str


class FileArchitectureArgs(NamedTuple):
    """Carry the arguments of ``file_architecture``."""

    filename: GuestPath


FILE: Final = Procedure(number=49, name="file", args=FileArgs, result=STRING)
CHECKSUM: Final = Procedure(number=68, name="checksum", args=ChecksumArgs, result=STRING)
CHECKSUM_DEVICE: Final = Procedure(number=237, name="checksum_device", args=ChecksumDeviceArgs, result=STRING)
HEAD: Final = Procedure(number=121, name="head", args=PathArgs, result=STRING_LIST)
HEAD_N: Final = Procedure(number=122, name="head_n", args=HeadNArgs, result=STRING_LIST)
TAIL: Final = Procedure(number=123, name="tail", args=PathArgs, result=STRING_LIST)
TAIL_N: Final = Procedure(number=124, name="tail_n", args=HeadNArgs, result=STRING_LIST)
WC_L: Final = Procedure(number=118, name="wc_l", args=PathArgs, result=INT32)
WC_W: Final = Procedure(number=119, name="wc_w", args=PathArgs, result=INT32)
WC_C: Final = Procedure(number=120, name="wc_c", args=PathArgs, result=INT32)
STRINGS: Final = Procedure(number=94, name="strings", args=PathArgs, result=STRING_LIST)
STRINGS_E: Final = Procedure(number=95, name="strings_e", args=StringsEArgs, result=STRING_LIST)
HEXDUMP: Final = Procedure(number=96, name="hexdump", args=PathArgs, result=STRING)
EQUAL: Final = Procedure(number=93, name="equal", args=EqualArgs, result=BOOL)
GREP: Final = Procedure(number=151, name="grep", args=GrepArgs, result=STRING_LIST)
EGREP: Final = Procedure(number=152, name="egrep", args=EgrepArgs, result=STRING_LIST)
FGREP: Final = Procedure(number=153, name="fgrep", args=FgrepArgs, result=STRING_LIST)
GREPI: Final = Procedure(number=154, name="grepi", args=EgrepArgs, result=STRING_LIST)
EGREPI: Final = Procedure(number=155, name="egrepi", args=EgrepArgs, result=STRING_LIST)
FGREPI: Final = Procedure(number=156, name="fgrepi", args=FgrepArgs, result=STRING_LIST)
ZGREP: Final = Procedure(number=157, name="zgrep", args=EgrepArgs, result=STRING_LIST)
ZEGREP: Final = Procedure(number=158, name="zegrep", args=EgrepArgs, result=STRING_LIST)
ZFGREP: Final = Procedure(number=159, name="zfgrep", args=FgrepArgs, result=STRING_LIST)
ZGREPI: Final = Procedure(number=160, name="zgrepi", args=EgrepArgs, result=STRING_LIST)
ZEGREPI: Final = Procedure(number=161, name="zegrepi", args=EgrepArgs, result=STRING_LIST)
ZFGREPI: Final = Procedure(number=162, name="zfgrepi", args=FgrepArgs, result=STRING_LIST)
ZFILE: Final = Procedure(number=140, name="zfile", args=ZfileArgs, result=STRING)
INITRD_LIST: Final = Procedure(number=128, name="initrd_list", args=PathArgs, result=STRING_LIST)
INITRD_CAT: Final = Procedure(number=221, name="initrd_cat", args=InitrdCatArgs, result=OPAQUE)
FILE_ARCHITECTURE: Final = Procedure(number=475, name="file_architecture", args=FileArchitectureArgs, result=STRING)
