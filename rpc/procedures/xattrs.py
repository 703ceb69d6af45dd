"""Read and change extended attributes."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import OPAQUE, VOID, GuestPath, Int32
from rpc.hot import XATTR_LIST
from rpc.procedure import Procedure


class GetxattrArgs(NamedTuple):
    """Carry the arguments of ``getxattr``, ``lgetxattr``."""

    path: GuestPath
    name: str


class SetxattrArgs(NamedTuple):
    """Carry the arguments of ``setxattr``, ``lsetxattr``."""

    xattr: str
    val: str
    vallen: Int32
    path: GuestPath


class RemovexattrArgs(NamedTuple):
    """Carry the arguments of ``removexattr``, ``lremovexattr``."""

    xattr: str
    path: GuestPath


GETXATTRS: Final = Procedure(number=141, name="getxattrs", args=PathArgs, result=XATTR_LIST)
LGETXATTRS: Final = Procedure(number=142, name="lgetxattrs", args=PathArgs, result=XATTR_LIST)
GETXATTR: Final = Procedure(number=279, name="getxattr", args=GetxattrArgs, result=OPAQUE)
LGETXATTR: Final = Procedure(number=280, name="lgetxattr", args=GetxattrArgs, result=OPAQUE)
INTERNAL_LXATTRLIST: Final = Procedure(number=205, name="internal_lxattrlist", args=PathNamesArgs, result=XATTR_LIST)
SETXATTR: Final = Procedure(number=143, name="setxattr", args=SetxattrArgs, result=VOID)
LSETXATTR: Final = Procedure(number=144, name="lsetxattr", args=SetxattrArgs, result=VOID)
REMOVEXATTR: Final = Procedure(number=145, name="removexattr", args=RemovexattrArgs, result=VOID)
LREMOVEXATTR: Final = Procedure(number=146, name="lremovexattr", args=RemovexattrArgs, result=VOID)
