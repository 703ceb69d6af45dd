"""Read what lstat(2) and statvfs(2) tell."""

from typing import Final, NamedTuple

from rpc.arguments import NoArgs, PathArgs, PathNamesArgs
from rpc.codec import BOOL, INT64, STRING, GuestPath, codec_of
from rpc.hot import STATNS_LIST
from rpc.procedure import Procedure
from rpc.types import Statns, Statvfs


class IsFileArgs(NamedTuple):
    """Carry the arguments of ``is_file``, ``is_dir``, ``is_fifo``, ``is_socket``, ``is_chardev``, ``is_blockdev``."""

    path: GuestPath
    followsymlinks: bool | None = None


class FilesizeArgs(NamedTuple):
    """Carry the arguments of ``filesize``."""

    file: GuestPath


LSTATNS: Final = Procedure(number=422, name="lstatns", args=PathArgs, result=codec_of(Statns))
STATNS: Final = Procedure(number=421, name="statns", args=PathArgs, result=codec_of(Statns))
INTERNAL_LSTATNSLIST: Final = Procedure(number=423, name="internal_lstatnslist", args=PathNamesArgs, result=STATNS_LIST)
STATVFS: Final = Procedure(number=54, name="statvfs", args=PathArgs, result=codec_of(Statvfs))
EXISTS: Final = Procedure(number=36, name="exists", args=PathArgs, result=BOOL)
IS_FILE: Final = Procedure(number=37, name="is_file", args=IsFileArgs, result=BOOL)
IS_DIR: Final = Procedure(number=38, name="is_dir", args=IsFileArgs, result=BOOL)
IS_SYMLINK: Final = Procedure(number=270, name="is_symlink", args=PathArgs, result=BOOL)
IS_FIFO: Final = Procedure(number=269, name="is_fifo", args=IsFileArgs, result=BOOL)
IS_SOCKET: Final = Procedure(number=271, name="is_socket", args=IsFileArgs, result=BOOL)
IS_CHARDEV: Final = Procedure(number=267, name="is_chardev", args=IsFileArgs, result=BOOL)
IS_BLOCKDEV: Final = Procedure(number=268, name="is_blockdev", args=IsFileArgs, result=BOOL)
FILESIZE: Final = Procedure(number=218, name="filesize", args=FilesizeArgs, result=INT64)
DU: Final = Procedure(number=127, name="du", args=PathArgs, result=INT64)
DF: Final = Procedure(number=125, name="df", args=NoArgs, result=STRING)
DF_H: Final = Procedure(number=126, name="df_h", args=NoArgs, result=STRING)
