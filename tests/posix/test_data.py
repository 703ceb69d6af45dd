"""Contents: every way to write them, and every way to see them."""

import errno
import mmap
import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.posix.syscalls import refused

SOURCE = random.Random(6).randbytes(5 << 20)


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory."""
    os.chdir(place)


@contextmanager
def opened(name: str, flags: int, mode: int = 0o644) -> Iterator[int]:
    descriptor = os.open(name, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def forget(name: str) -> None:
    """Have the next read come from where the data is kept."""
    with opened(name, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("size", [0, 1, 511, 4095, 4096, 4097, 131_071, 131_073, (1 << 20) + 1, len(SOURCE)])
def test_file_written_at_once_reads_the_same(size: int) -> None:
    Path("file").write_bytes(SOURCE[:size])
    assert os.lstat("file").st_size == size
    assert Path("file").read_bytes() == SOURCE[:size]
    forget("file")
    assert Path("file").read_bytes() == SOURCE[:size]


@pytest.mark.parametrize("step", [1, 7, 4096, 5000, 131_072, 300_000])
def test_file_written_in_pieces_reads_the_same(step: int) -> None:
    size = min(len(SOURCE), step * 300)
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        for offset in range(0, size, step):
            piece = SOURCE[offset : min(offset + step, size)]
            assert os.write(descriptor, piece) == len(piece)
            assert os.fstat(descriptor).st_size == offset + len(piece)
        assert os.pread(descriptor, size + 1, 0) == SOURCE[:size]
    forget("file")
    assert Path("file").read_bytes() == SOURCE[:size]


def test_pieces_written_backwards_and_over_each_other() -> None:
    expected = bytearray(1 << 20)
    generator = random.Random(1)
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        os.ftruncate(descriptor, len(expected))
        for _ in range(200):
            offset = generator.randrange(len(expected))
            piece = generator.randbytes(min(generator.randrange(1, 20_000), len(expected) - offset))
            os.pwrite(descriptor, piece, offset)
            expected[offset : offset + len(piece)] = piece
            if generator.random() < 0.1:
                os.fsync(descriptor)
        assert os.pread(descriptor, len(expected), 0) == expected
    forget("file")
    assert Path("file").read_bytes() == expected


def test_open_flags_for_creation_and_truncation() -> None:
    with refused(errno.ENOENT):
        os.open("file", os.O_WRONLY | os.O_TRUNC)
    with opened("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        os.write(descriptor, b"contents")
        with refused(errno.EBADF):
            os.read(descriptor, 1)
    with opened("file", os.O_CREAT | os.O_RDONLY) as descriptor:
        assert os.read(descriptor, 99) == b"contents"
        with refused(errno.EBADF):
            os.write(descriptor, b"x")
        with opened("file", os.O_WRONLY | os.O_TRUNC):
            assert os.fstat(descriptor).st_size == 0
        assert os.pread(descriptor, 99, 0) == b""
    with refused(errno.EEXIST):
        os.open("file", os.O_CREAT | os.O_EXCL)
    with opened("file", os.O_RDONLY | os.O_TRUNC):
        pass
    with refused(errno.EINVAL):
        os.open("file", os.O_WRONLY | os.O_DIRECTORY | os.O_CREAT)


def test_append_goes_to_the_end_whoever_else_writes() -> None:
    with (
        opened("file", os.O_CREAT | os.O_WRONLY | os.O_APPEND) as first,
        opened("file", os.O_RDWR | os.O_APPEND) as second,
        opened("file", os.O_WRONLY) as third,
    ):
        os.write(first, b"one ")
        os.write(second, b"two ")
        os.lseek(first, 0, os.SEEK_SET)
        os.write(first, b"three ")
        os.pwrite(third, b"ONE", 0)
        os.pwrite(second, b"four ", 0)  # Linux appends even then
        os.ftruncate(third, 8)
        os.write(first, b"five")
        assert os.lseek(first, 0, os.SEEK_CUR) == 12
        os.lseek(second, 0, os.SEEK_SET)
        assert os.read(second, 99) == b"ONE two five"
    assert Path("file").read_bytes() == b"ONE two five"


def test_hole_reads_as_zeros_and_is_filled() -> None:
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        os.pwrite(descriptor, b"end", 1_000_000)
        assert os.pread(descriptor, 10, 999_995) == bytes(5) + b"end"
        assert os.pread(descriptor, 1_000_000, 0) == bytes(1_000_000)
        os.pwrite(descriptor, b"middle", 500_001)
    forget("file")
    assert Path("file").read_bytes() == bytes(500_001) + b"middle" + bytes(499_993) + b"end"


def test_bytes_cut_off_do_not_come_back() -> None:
    for size, again in ((10, 5000), (4096, 8192), (4097, 100_000), (1, 4096)):
        Path("file").write_bytes(b"x" * 200_000)
        os.truncate("file", size)
        os.truncate("file", again)
        assert Path("file").read_bytes() == b"x" * size + bytes(again - size)
        os.truncate("file", size)
        with opened("file", os.O_WRONLY) as descriptor:
            os.pwrite(descriptor, b"!", again)
        forget("file")
        assert Path("file").read_bytes() == b"x" * size + bytes(again - size) + b"!"


def test_shared_mapping_is_written_and_seen() -> None:
    Path("file").write_bytes(bytes(100_000))
    with opened("file", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 100_000) as view:
        view[5000:5005] = b"first"
        assert os.pread(descriptor, 5, 5000) == b"first"
        os.pwrite(descriptor, b"second", 70_000)
        assert view[70_000:70_006] == b"second"
        view[99_999:] = b"!"
        view.flush()
    forget("file")
    data = Path("file").read_bytes()
    assert (data[5000:5005], data[70_000:70_006], data[99_999:]) == (b"first", b"second", b"!")
    assert len(data.strip(b"\0")) == 95_000


def test_mapping_outlives_its_descriptor_and_its_name() -> None:
    Path("file").write_bytes(SOURCE[:50_000])
    os.link("file", "twin")
    with opened("file", os.O_RDWR) as descriptor:
        view = mmap.mmap(descriptor, 50_000)
    os.unlink("file")
    view[10:14] = b"late"
    assert view[:10] == SOURCE[:10]
    view.close()
    assert Path("twin").read_bytes() == SOURCE[:10] + b"late" + SOURCE[14:50_000]


def test_private_mapping_changes_nothing() -> None:
    Path("file").write_bytes(b"contents")
    with opened("file", os.O_RDONLY) as descriptor, mmap.mmap(descriptor, 8, access=mmap.ACCESS_COPY) as view:
        view[:8] = b"CONTENTS"
    assert Path("file").read_bytes() == b"contents"


def test_mapping_of_a_file_that_was_cut_is_a_bus_error() -> None:
    Path("file").write_bytes(bytes(20_000))
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        with opened("file", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 20_000) as view:
            os.truncate("file", 100)
            view[19_000]
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGBUS


def test_copies_by_sendfile_and_copy_file_range() -> None:
    Path("file").write_bytes(SOURCE)
    with opened("file", os.O_RDONLY) as source, opened("copy", os.O_CREAT | os.O_RDWR) as target:
        copied = 0
        while copied < len(SOURCE) // 2:
            copied += os.copy_file_range(source, target, 1 << 20)
        while copied < len(SOURCE):
            copied += os.sendfile(target, source, copied, 1 << 20)
    forget("copy")
    assert Path("copy").read_bytes() == SOURCE


def test_vectors_and_offsets() -> None:
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        assert os.writev(descriptor, [b"one", b"", b"two", SOURCE[:10_000]]) == 10_006
        assert os.pwritev(descriptor, [b"THREE", b"FOUR"], 3) == 9
        buffers = [bytearray(3), bytearray(9)]
        assert os.preadv(descriptor, buffers, 0) == 12
        assert buffers == [b"one", b"THREEFOUR"]
        assert os.lseek(descriptor, -1, os.SEEK_END) == 10_005
        with refused(errno.EINVAL):
            os.lseek(descriptor, -1, os.SEEK_SET)
        with refused(errno.EINVAL):
            os.pread(descriptor, 1, -1)


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC, os.O_NOATIME, os.O_NONBLOCK])
def test_further_open_flags_write_too(flag: int) -> None:
    with opened("file", os.O_CREAT | os.O_RDWR | flag) as descriptor:
        for _ in range(5):
            os.write(descriptor, SOURCE[:10_000])
        os.fdatasync(descriptor)
        assert os.pread(descriptor, 50_000, 0) == SOURCE[:10_000] * 5


def test_every_kind_of_sync_succeeds() -> None:
    Path("directory").mkdir()
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        for sync in (os.fsync, os.fdatasync):
            os.write(descriptor, b"x")
            sync(descriptor)
    with opened("file", os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
    with opened("directory", os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
        os.fdatasync(descriptor)


def test_writing_beyond_the_callers_limit() -> None:
    Path("file").touch()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with opened("file", os.O_WRONLY) as descriptor:
            written = os.write(descriptor, bytes(20_000))
            try:
                os.write(descriptor, b"x")
            except OSError as exc:
                os._exit(0 if (written, exc.errno) == (10_000, errno.EFBIG) else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_writing_beyond_what_a_file_can_hold(filesystem: str) -> None:
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        if filesystem == "ext4":  # the others end where offsets do
            with refused(errno.EFBIG):
                os.pwrite(descriptor, b"x", 16 << 40)
            os.fsync(descriptor)
        assert os.pwrite(descriptor, b"x", (2 << 40) + 1) == 1
        assert os.fstat(descriptor).st_size == (2 << 40) + 2


def test_mapping_of_a_file_that_is_opened_for_appending() -> None:
    with opened("file", os.O_CREAT | os.O_RDWR | os.O_APPEND) as descriptor:
        os.write(descriptor, b"a" * 4096)
        with mmap.mmap(descriptor, 4096) as mapping:
            mapping[:4] = b"here"
            os.write(descriptor, b"end")
            mapping[4:5] = b"!"
            mapping.flush()
        os.fsync(descriptor)
    forget("file")
    assert Path("file").read_bytes() == b"here!" + b"a" * 4091 + b"end"


def test_descriptor_written_by_two_processes_shares_its_offset() -> None:
    with opened("file", os.O_CREAT | os.O_RDWR) as descriptor:
        for letter in b"ab":
            pid = os.fork()
            if pid == 0:
                os.write(descriptor, bytes([letter]) * 5000)
                os._exit(0)
            os.waitpid(pid, 0)
    assert Path("file").read_bytes() == b"a" * 5000 + b"b" * 5000
