"""Extensions of ours for a mount that writes: docs/architecture.md has their meaning."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs
from rpc.codec import BOOL, INT64, OPAQUE, VOID, FileName, GuestPath, Int64, UInt32, UInt64, codec_of
from rpc.procedure import Procedure
from rpc.types import Statns


class ChangeFilesArgs(NamedTuple):
    """Carry changes, see ``rpc.changes``: here, or so many bytes at a place of the mailbox."""

    changes: bytes
    place: UInt64
    length: UInt32


class MakeFileArgs(NamedTuple):
    """Carry the arguments of ``make_file``: type and permissions in ``mode``, the target of a symbolic link.

    A directory whose setgid bit is set decides about the group, whatever ``gid`` says.
    """

    path: GuestPath
    mode: UInt32
    rdev: UInt64
    uid: UInt32
    gid: UInt32
    target: bytes


class Made(NamedTuple):
    """Tell of a file that has got a name, and of the directory that has it now."""

    file: Statns
    directory: Statns


class Removed(NamedTuple):
    """Tell of a directory that has lost a name, and the number by which the file is kept, 0 if it is not."""

    kept: Int64
    directory: Statns


class Renamed(NamedTuple):
    """Tell of the directories of the former and the new name, and how the file that was replaced is kept."""

    kept: Int64
    directory: Statns
    newdirectory: Statns


class LinkFileArgs(NamedTuple):
    """Carry the arguments of ``link_file``: the file's name and the new one."""

    path: GuestPath
    linkname: GuestPath


class RemoveNameArgs(NamedTuple):
    """Carry the arguments of ``remove_name``; ``keep``: the file is still in use, so it shall stay without a name."""

    path: GuestPath
    directory: bool
    keep: bool


class RenameFileArgs(NamedTuple):
    """Carry the arguments of ``rename_file``: those of renameat2(2); ``keep`` is for the file that is replaced."""

    path: GuestPath
    newpath: GuestPath
    flags: UInt32
    keep: bool


class OpenFileArgs(NamedTuple):
    """Carry the arguments of ``open_file``: the flags of open(2) that matter to whether it may be opened."""

    path: GuestPath
    flags: UInt32


class KeptArgs(NamedTuple):
    """Name a file that has no name any more."""

    kept: UInt64


class ReadKeptArgs(NamedTuple):
    """Carry the arguments of ``read_kept``."""

    kept: UInt64
    length: UInt32
    offset: UInt64


class SyncFileArgs(NamedTuple):
    """Carry the arguments of ``sync_file``: a path, or with ``kept`` a file that has none any more."""

    path: GuestPath
    kept: UInt64
    datasync: bool


class ChangeXattrArgs(NamedTuple):
    """Carry the arguments of ``change_xattr``: the flags of setxattr(2), any bytes as value; None of it to remove."""

    path: GuestPath
    kept: UInt64
    name: FileName
    value: bytes
    flags: UInt32
    remove: bool


class OpenMailboxArgs(NamedTuple):
    """Carry the serial number of the disk that is the mailbox."""

    serial: str


CHANGE_FILES: Final = Procedure(number=10008, name="change_files", args=ChangeFilesArgs, result=OPAQUE)
MAKE_FILE: Final = Procedure(number=10009, name="make_file", args=MakeFileArgs, result=codec_of(Made))
LINK_FILE: Final = Procedure(number=10010, name="link_file", args=LinkFileArgs, result=codec_of(Made))
REMOVE_NAME: Final = Procedure(number=10011, name="remove_name", args=RemoveNameArgs, result=codec_of(Removed))
RENAME_FILE: Final = Procedure(number=10012, name="rename_file", args=RenameFileArgs, result=codec_of(Renamed))
OPEN_FILE: Final = Procedure(number=10013, name="open_file", args=OpenFileArgs, result=codec_of(Statns))
READ_KEPT: Final = Procedure(number=10014, name="read_kept", args=ReadKeptArgs, result=OPAQUE)
CLOSE_KEPT: Final = Procedure(number=10015, name="close_kept", args=KeptArgs, result=VOID)
SYNC_FILE: Final = Procedure(number=10016, name="sync_file", args=SyncFileArgs, result=VOID)
CHANGE_XATTR: Final = Procedure(number=10017, name="change_xattr", args=ChangeXattrArgs, result=VOID)
OPEN_MAILBOX: Final = Procedure(number=10018, name="open_mailbox", args=OpenMailboxArgs, result=INT64)
ANY_PROTECTED: Final = Procedure(number=10019, name="any_protected", args=PathArgs, result=BOOL)
