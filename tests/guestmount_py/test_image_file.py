import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from guestmount_py.image_file import ImageFile
from rpc.errors import DriveError
from tests.guestmount_py.images import MIB, opened_for_writing, qemu_img

SIZE_BYTES = MIB + 100


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE_BYTES)


@pytest.fixture
async def image(tmp_path: Path, content: bytes) -> AsyncIterator[ImageFile]:
    (tmp_path / "image").write_bytes(content)
    file = ImageFile(tmp_path / "image")
    yield file
    file.close()


async def read(file: ImageFile, offset: int, count: int) -> bytes:
    buffer = bytearray(b"\xff" * count)
    await file.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def forget(file: ImageFile) -> None:
    """Have the kernel drop the file's pages, so that a read must wait for the disk."""
    with file.path.open("rb") as again:
        os.fsync(again.fileno())
        os.posix_fadvise(again.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def counted_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    calls = []
    run_sync = trio.to_thread.run_sync

    async def counting(function: Any, *args: Any) -> Any:
        calls.append(function.__name__)
        return await run_sync(function, *args)

    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", counting)
        yield calls


async def test_bytes_in_memory_need_no_thread_and_others_do(
    image: ImageFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(image, 0, SIZE_BYTES)
    with counted_threads(monkeypatch) as threads:
        assert await read(image, 1000, MIB // 2) == content[1000 : 1000 + MIB // 2]
        assert threads == []
        forget(image)
        assert await read(image, 1000, MIB // 2) == content[1000 : 1000 + MIB // 2]
        assert threads == ["_fill"]


async def test_filesystem_that_must_wait_is_read_in_threads(
    image: ImageFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv

    def waiting(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise OSError(95, "Operation not supported")
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", waiting)
    for _ in range(2):
        assert await read(image, 7, 70_000) == content[7:70_007]


async def test_what_is_behind_the_end_is_zeros(image: ImageFile, content: bytes) -> None:
    assert await read(image, SIZE_BYTES - 10, 30) == content[-10:] + bytes(20)
    assert await read(image, SIZE_BYTES + 10, 30) == bytes(30)


@pytest.mark.parametrize("left", [0, 4096, MIB + 99])
async def test_truncated_file_is_an_error(image: ImageFile, left: int) -> None:
    os.truncate(image.path, left)
    with pytest.raises(DriveError, match=f"ends at {left}: it was truncated from {SIZE_BYTES} bytes"):
        await read(image, 0, SIZE_BYTES + 50)


async def test_directory_and_absent_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="absent: cannot be opened"):
        ImageFile(tmp_path / "absent")


async def test_read_of_a_closed_file_is_an_error_and_closing_twice_is_not(image: ImageFile) -> None:
    image.close()
    image.close()
    with pytest.raises(DriveError, match="was closed"):
        await read(image, 0, 10)


async def test_closing_waits_for_a_thread_that_reads(
    image: ImageFile, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the thread could read another file that has got the number meanwhile."""
    preadv = os.preadv
    gate = trio.Event()

    def held(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        trio.from_thread.run(gate.wait)
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", held)
    seen = []

    async def read_all() -> None:
        seen.append(await read(image, 0, SIZE_BYTES))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all)
        await trio.testing.wait_all_tasks_blocked()
        image.close()
        gate.set()
    assert seen == [content]


async def test_lock_of_a_writer_is_seen_and_that_of_a_reader_is_none(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", path, "1M")
    file = ImageFile(path)
    assert not file.is_being_written()
    with opened_for_writing(path, "qcow2"):
        assert file.is_being_written()
    assert not file.is_being_written()
    with opened_for_writing(path, "qcow2", read_only=True):
        assert not file.is_being_written()
    file.close()


async def test_change_tells_of_writers_and_of_what_they_left(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(MIB))
    file = ImageFile(path)
    path.read_bytes()
    with opened_for_writing(path, "raw", read_only=True):
        assert file.change() is None
    with opened_for_writing(path, "raw"):
        assert file.change() == f"another process has {path} open for writing"
    assert file.change() is None  # it did not write
    with path.open("r+b") as written:
        written.write(b"x")
    assert file.change() == f"{path} was written to"
    os.truncate(path, MIB - 1)
    with pytest.raises(DriveError, match=f"it was truncated from {MIB} bytes to {MIB - 1}"):
        file.change()
    file.close()
    with pytest.raises(DriveError, match="was closed"):
        file.change()


async def test_file_is_known_by_what_it_is_and_not_by_its_name(image: ImageFile) -> None:
    assert image.is_open_in(os.getpid())
    assert not image.is_open_in(1 << 22)
    again = image.path.rename(image.path.with_name("other"))
    image.path.write_bytes(again.read_bytes())
    other = ImageFile(image.path)
    assert other.is_open_in(os.getpid())
    other.close()
    with image.path.open("rb"):
        assert image.is_open_in(os.getpid())
