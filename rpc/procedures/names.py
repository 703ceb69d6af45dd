"""Make, link, rename and remove names, and change owner, mode and times."""

from typing import Final, NamedTuple

from rpc.arguments import NoArgs, PathArgs
from rpc.codec import INT32, STRING, VOID, GuestPath, Int32, Int64
from rpc.procedure import Procedure


class MkdirModeArgs(NamedTuple):
    """Carry the arguments of ``mkdir_mode``."""

    path: GuestPath
    mode: Int32


class MkdtempArgs(NamedTuple):
    """Carry the arguments of ``mkdtemp``."""

    tmpl: GuestPath


class MktempArgs(NamedTuple):
    """Carry the arguments of ``mktemp``."""

    tmpl: GuestPath
    suffix: str | None = None


class MknodArgs(NamedTuple):
    """Carry the arguments of ``mknod``, ``mknod_b``, ``mknod_c``."""

    mode: Int32
    devmajor: Int32
    devminor: Int32
    path: GuestPath


class ChmodArgs(NamedTuple):
    """Carry the arguments of ``mkfifo``, ``chmod``."""

    mode: Int32
    path: GuestPath


class LnArgs(NamedTuple):
    """Carry the arguments of ``ln``, ``ln_f``, ``ln_s``, ``ln_sf``."""

    target: str
    linkname: GuestPath


class RenameArgs(NamedTuple):
    """Carry the arguments of ``rename``."""

    oldpath: GuestPath
    newpath: GuestPath


class MvArgs(NamedTuple):
    """Carry the arguments of ``mv``, ``cp``, ``cp_a``, ``cp_r``."""

    src: GuestPath
    dest: GuestPath


class ChownArgs(NamedTuple):
    """Carry the arguments of ``chown``, ``lchown``."""

    owner: Int32
    group: Int32
    path: GuestPath


class UtimensArgs(NamedTuple):
    """Carry the arguments of ``utimens``."""

    path: GuestPath
    atsecs: Int64
    atnsecs: Int64
    mtsecs: Int64
    mtnsecs: Int64


class UmaskArgs(NamedTuple):
    """Carry the arguments of ``umask``."""

    mask: Int32


class MklostAndFoundArgs(NamedTuple):
    """Carry the arguments of ``mklost_and_found``."""

    mountpoint: GuestPath


class FillDirArgs(NamedTuple):
    """Carry the arguments of ``fill_dir``."""

    dir: GuestPath
    nr: Int32


MKDIR: Final = Procedure(number=32, name="mkdir", args=PathArgs, result=VOID)
MKDIR_P: Final = Procedure(number=33, name="mkdir_p", args=PathArgs, result=VOID)
MKDIR_MODE: Final = Procedure(number=202, name="mkdir_mode", args=MkdirModeArgs, result=VOID)
MKDTEMP: Final = Procedure(number=117, name="mkdtemp", args=MkdtempArgs, result=STRING)
MKTEMP: Final = Procedure(number=373, name="mktemp", args=MktempArgs, result=STRING)
MKNOD: Final = Procedure(number=133, name="mknod", args=MknodArgs, result=VOID)
MKFIFO: Final = Procedure(number=134, name="mkfifo", args=ChmodArgs, result=VOID)
MKNOD_B: Final = Procedure(number=135, name="mknod_b", args=MknodArgs, result=VOID)
MKNOD_C: Final = Procedure(number=136, name="mknod_c", args=MknodArgs, result=VOID)
LN: Final = Procedure(number=164, name="ln", args=LnArgs, result=VOID)
LN_F: Final = Procedure(number=165, name="ln_f", args=LnArgs, result=VOID)
LN_S: Final = Procedure(number=166, name="ln_s", args=LnArgs, result=VOID)
LN_SF: Final = Procedure(number=167, name="ln_sf", args=LnArgs, result=VOID)
RENAME: Final = Procedure(number=394, name="rename", args=RenameArgs, result=VOID)
MV: Final = Procedure(number=89, name="mv", args=MvArgs, result=VOID)
CP: Final = Procedure(number=87, name="cp", args=MvArgs, result=VOID)
CP_A: Final = Procedure(number=88, name="cp_a", args=MvArgs, result=VOID)
CP_R: Final = Procedure(number=401, name="cp_r", args=MvArgs, result=VOID)
RM: Final = Procedure(number=29, name="rm", args=PathArgs, result=VOID)
RM_F: Final = Procedure(number=367, name="rm_f", args=PathArgs, result=VOID)
RM_RF: Final = Procedure(number=31, name="rm_rf", args=PathArgs, result=VOID)
RMDIR: Final = Procedure(number=30, name="rmdir", args=PathArgs, result=VOID)
TOUCH: Final = Procedure(number=3, name="touch", args=PathArgs, result=VOID)
CHMOD: Final = Procedure(number=34, name="chmod", args=ChmodArgs, result=VOID)
CHOWN: Final = Procedure(number=35, name="chown", args=ChownArgs, result=VOID)
LCHOWN: Final = Procedure(number=203, name="lchown", args=ChownArgs, result=VOID)
UTIMENS: Final = Procedure(number=201, name="utimens", args=UtimensArgs, result=VOID)
UMASK: Final = Procedure(number=137, name="umask", args=UmaskArgs, result=INT32)
GET_UMASK: Final = Procedure(number=240, name="get_umask", args=NoArgs, result=INT32)
MKLOST_AND_FOUND: Final = Procedure(number=374, name="mklost_and_found", args=MklostAndFoundArgs, result=VOID)
FILL_DIR: Final = Procedure(number=348, name="fill_dir", args=FillDirArgs, result=VOID)
