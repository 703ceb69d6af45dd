"""Transfers, and how either party gives one up."""

import os
import threading
from collections.abc import Iterator
from typing import Final

from tests.interoperability.library import Library
from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked

_MESSAGE_MAX: Final = 4 << 20
# Beside the data are the header of 40 bytes, the data's length word, and with pwrite path and offset.
_PWRITE_MAX: Final = _MESSAGE_MAX - 40 - 4 - (4 + len("/file\0\0\0")) - 8
_PREAD_MAX: Final = _MESSAGE_MAX - 40 - 4


def _still_works(library: Library) -> str:
    return f"and then: {asked(library, 'ping_daemon')}"


@script("download to a full local disk: the library cancels, the connection is usable afterwards")
def download_cancelled_by_library(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        for size in (1, 64 << 20):  # between them it depends on whether the daemon hears of it before its last chunk
            yield asked(library, "download_offset", "/dev/sda", "/dev/full", 0, size)
            yield _still_works(library)
        yield asked(library, "download", "/dev/sda", "/no/such/directory/file")
        yield _still_works(library)


@script("download cancelled by the user")
def download_cancelled_by_user(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        library.driver_cancel_after(0.3)
        yield asked(library, "download", "/dev/sda", "/dev/null")
        yield _still_works(library)
        yield asked(library, "download_offset", "/dev/sda", "/dev/null", 0, 100_000)


@script("upload cancelled by the user, or because the local file cannot be read")
def upload_cancelled_by_library(stage: Stage) -> Iterator[str]:
    fifo = stage.directory / "fifo"
    os.mkfifo(fifo)
    with stage.filesystem() as library:
        writer = threading.Thread(target=_endless, args=(fifo,))
        writer.start()
        library.driver_cancel_after(0.3)
        yield asked(library, "upload", os.fspath(fifo), "/file").replace(os.fspath(stage.directory), "")
        writer.join()
        yield _still_works(library)
        yield asked(library, "upload", "/no/such/file", "/file")
        yield asked(library, "upload", "/", "/file")
        yield _still_works(library)
    fifo.unlink()


def _endless(fifo: os.PathLike[str]) -> None:
    """Write until the reader has gone."""
    with open(fifo, "wb", buffering=0) as file:  # noqa: PTH123
        try:
            while True:
                file.write(bytes(8192))
        except BrokenPipeError:
            return


@script("upload to a full guest: the daemon cancels, the connection is usable afterwards")
def upload_cancelled_by_daemon(stage: Stage) -> Iterator[str]:
    large = stage.directory / "large"
    large.write_bytes(bytes(100 << 20))
    with stage.filesystem("ext2", "/dev/sdb") as library:
        for target in ("/large", "/no/such/directory", "/", "relative", "/dev/sdz"):
            yield asked(library, "upload", os.fspath(large), target).replace(os.fspath(stage.directory), "")
            yield _still_works(library)
        yield asked(library, "rm", "/large")
        yield asked(library, "write", "/small", b"there is room again")
        yield asked(library, "read_file", "/small")
    large.unlink()


@script("files larger than a message, through every call that moves one")
def large_files(stage: Stage) -> Iterator[str]:
    content = bytes(range(251)) * (9 << 12)
    local, back = stage.directory / "local", stage.directory / "back"
    local.write_bytes(content)
    with stage.filesystem() as library:
        library.upload(os.fspath(local), "/uploaded")
        yield asked(library, "filesize", "/uploaded")
        yield asked(library, "checksum", "sha256", "/uploaded")
        library.download("/uploaded", os.fspath(back))
        assert back.read_bytes() == content
        assert library.read_file("/uploaded") == content
        library.write("/written", content)
        assert library.read_file("/written") == content
        library.write_append("/written", content)
        yield asked(library, "filesize", "/written")
        yield asked(library, "checksum", "sha256", "/written")
        library.upload_offset(os.fspath(local), "/uploaded", 100)
        yield asked(library, "checksum", "sha256", "/uploaded")
        library.download_offset("/uploaded", os.fspath(back), 100, len(content))
        assert back.read_bytes() == content
        library.copy_file_to_file("/uploaded", "/copied")
        assert library.checksum("sha256", "/copied") == library.checksum("sha256", "/uploaded")


@script("messages of exactly the largest size, and one byte more")
def largest_messages(stage: Stage) -> Iterator[str]:
    with stage.filesystem() as library:
        library.write("/file", b"")
        library.truncate_size("/file", 2 * _MESSAGE_MAX)
        for count in (_PREAD_MAX - 1, _PREAD_MAX, _PREAD_MAX + 1, _MESSAGE_MAX - 1, _MESSAGE_MAX):
            yield f"pread of {count}: {_length(library, count)}"
        for count in (_PWRITE_MAX - 4, _PWRITE_MAX, _PWRITE_MAX + 1, _MESSAGE_MAX):
            yield f"pwrite of {count}: {asked(library, 'pwrite', '/file', bytes(count), 0)}"
        yield _still_works(library)


def _length(library: Library, count: int) -> str:
    answer = asked(library, "pread", "/file", count, 0)
    return answer.partition(": ")[2]


@script("progress messages of a long call: a few each second, growing, and complete at the end")
def progress(stage: Stage) -> Iterator[str]:
    with stage.launched(stage.disk(4096)) as library:
        library.driver_progress()
        library.checksum_device("md5", "/dev/sda")
        yield from _summary("checksum_device", library)
        library.mkfs("ext4", "/dev/sda")
        library.mount("/dev/sda", "/")
        library.fallocate64("/from", 700 << 20)
        library.driver_progress()
        library.copy_file_to_file("/from", "/to")
        yield from _summary("copy_file_to_file", library)


def _summary(name: str, library: Library) -> Iterator[str]:
    messages = library.driver_progress()
    times = [message[0] for message in messages]
    yield f"{name}: there were progress messages: {bool(messages)}"
    # On average: what a busy machine holds back arrives in a heap. The first and the last may come at once.
    yield f"{name}: on average at most four a second: {len(times) <= 4 * (times[-1] - times[0]) + 3 if times else True}"
    yield f"{name}: the last one is complete: {bool(messages) and messages[-1][3] == messages[-1][4]}"
