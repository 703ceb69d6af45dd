"""Extensions of ours, for a client that asks ``hello`` first: docs/architecture.md has their meaning."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs
from rpc.codec import STRING_LIST, VOID, FileName, GuestPath, UInt32, UInt64, codec_of
from rpc.procedure import Procedure, Transfer
from rpc.types import Hello


class HelloArgs(NamedTuple):
    """Carry the arguments of ``hello``: what the client speaks and the longest FileOut chunk it takes."""

    version: UInt32
    chunk_max_bytes: UInt32


class ListDirectoriesArgs(NamedTuple):
    """Carry the arguments of ``list_directories``."""

    paths: list[GuestPath]


class ReadFilesArgs(NamedTuple):
    """Carry the arguments of ``read_files``: names in one directory and the most bytes wanted of each."""

    path: GuestPath
    names: list[FileName]
    max_bytes: UInt32


class ResumeArgs(NamedTuple):
    """Carry the arguments of ``resume``.

    ``clock_ns`` is the time since 1970; ``entropy`` is secret random data; ``serials`` are the drives' serial numbers.
    """

    clock_ns: UInt64
    entropy: bytes
    serials: list[str]


HELLO: Final = Procedure(number=10000, name="hello", args=HelloArgs, result=codec_of(Hello))
LIST_DIRECTORY: Final = Procedure(
    number=10001, name="list_directory", args=PathArgs, result=VOID, transfer=Transfer.FILE_OUT
)
READ_FILES: Final = Procedure(
    number=10002, name="read_files", args=ReadFilesArgs, result=VOID, transfer=Transfer.FILE_OUT
)
LIST_DIRECTORIES: Final = Procedure(
    number=10003, name="list_directories", args=ListDirectoriesArgs, result=VOID, transfer=Transfer.FILE_OUT
)
RESUME: Final = Procedure(number=10004, name="resume", args=ResumeArgs, result=STRING_LIST)
