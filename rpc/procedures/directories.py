"""List names and resolve them."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs, PathNamesArgs
from rpc.codec import OPAQUE, STRING, STRING_LIST, VOID, GuestPath, list_of
from rpc.hot import DIRENT_LIST
from rpc.procedure import Procedure, Transfer


class ReaddirArgs(NamedTuple):
    """Carry the arguments of ``readdir``, ``internal_readdir``, ``ls0``."""

    dir: GuestPath


class Find0Args(NamedTuple):
    """Carry the arguments of ``find0``, ``ll``, ``llz``."""

    directory: GuestPath


class GlobExpandArgs(NamedTuple):
    """Carry the arguments of ``glob_expand``."""

    pattern: GuestPath
    directoryslash: bool | None = None


READDIR: Final = Procedure(number=138, name="readdir", args=ReaddirArgs, result=DIRENT_LIST)
INTERNAL_READDIR: Final = Procedure(
    number=511, name="internal_readdir", args=ReaddirArgs, result=VOID, transfer=Transfer.FILE_OUT
)
LS0: Final = Procedure(number=347, name="ls0", args=ReaddirArgs, result=VOID, transfer=Transfer.FILE_OUT)
FIND0: Final = Procedure(number=196, name="find0", args=Find0Args, result=VOID, transfer=Transfer.FILE_OUT)
READLINK: Final = Procedure(number=168, name="readlink", args=PathArgs, result=OPAQUE)
INTERNAL_READLINKLIST: Final = Procedure(
    number=206, name="internal_readlinklist", args=PathNamesArgs, result=list_of(OPAQUE)
)
REALPATH: Final = Procedure(number=163, name="realpath", args=PathArgs, result=STRING)
CASE_SENSITIVE_PATH: Final = Procedure(number=197, name="case_sensitive_path", args=PathArgs, result=STRING)
GLOB_EXPAND: Final = Procedure(number=113, name="glob_expand", args=GlobExpandArgs, result=STRING_LIST)
LL: Final = Procedure(number=5, name="ll", args=Find0Args, result=STRING)
LLZ: Final = Procedure(number=305, name="llz", args=Find0Args, result=STRING)
