"""Extents as the daemon streams them: of regular files of one directory, in whole records, and of nothing else."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rpc import constants
from rpc.codec import GuestPath
from rpc.extents import EXTENT, FILESYSTEM, MORE, REFUSED, WHOLE, decode_extents, decode_filesystem
from rpc.procedures import MAP_FILES
from rpc.procedures.extensions import MapFilesArgs
from tests.daemon.guestfsd import Guestfsd, started
from tests.guests.mapped import MANY, empty_image, remounted, write_awkward_files

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    def fill(root: Path) -> None:
        write_awkward_files(root)
        os.mknod(root / "disk", 0o60660, os.makedev(7, 0))
        (root / "away").symlink_to("/etc")
        (root / "inside").symlink_to("/sub")
        (root / os.fsdecode(b"caf\xe9 \n")).write_bytes(b"x")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(root / "socket"))

    image = empty_image(tmp_path_factory.mktemp("extents") / "image", 100)
    with remounted([image], ("mkfs.ext4", "-q", "-b", "4096"), fill) as (root, _):
        yield root


@pytest.fixture
def daemon(filesystem: Path) -> Iterator[Guestfsd]:
    with started(filesystem) as guestfsd:
        yield guestfsd
        assert guestfsd.finish() == (0, "")


def args(path: bytes, *names: bytes) -> MapFilesArgs:
    return MapFilesArgs(GuestPath(path), b"\0".join(names))


def mapped(daemon: Guestfsd, path: bytes, *names: bytes) -> Sequence[tuple[int, bytes]]:
    data = daemon.download(MAP_FILES, args(path, *names))
    assert decode_filesystem(data) > 0
    return list(decode_extents(data, FILESYSTEM.size))


def test_files_are_answered_in_the_order_asked(daemon: Guestfsd) -> None:
    records = mapped(daemon, b"/", b"plain-4096", b"all-hole", b"none", b"plain-0", b"plain-4097", b"caf\xe9 \n")
    assert [state for state, _ in records] == [WHOLE, WHOLE, REFUSED, WHOLE, WHOLE, WHOLE]
    assert [sum(extent[2] for extent in EXTENT.iter_unpack(packed)) for _, packed in records] == [
        4096, 0, 0, 0, 8192, 4096
    ]  # fmt: skip
    assert mapped(daemon, b"/") == []


def test_what_is_no_regular_file_is_refused_and_not_waited_for(daemon: Guestfsd) -> None:
    names = (b"fifo", b"socket", b"disk", b"sub", b"link", b"away", b".", b"")
    assert mapped(daemon, b"/", *names) == [(REFUSED, b"")] * len(names)


@pytest.mark.parametrize("names", [(b"..",), (b"plain-1", b"../etc"), (b"/etc/passwd",), (b"sub/inner",), (b"..", b"")])
def test_name_that_leaves_the_directory_is_an_error(daemon: Guestfsd, names: Sequence[bytes]) -> None:
    errno_name, text = daemon.error(MAP_FILES, args(b"/", *names))
    assert (errno_name, text) == ("", "a name must not be .. and not contain /")


def test_links_of_the_path_end_inside_the_guest(daemon: Guestfsd) -> None:
    assert daemon.error(MAP_FILES, args(b"/away", b"passwd"))[0] == "ENOENT"
    assert daemon.error(MAP_FILES, args(b"/plain-1", b"x"))[0] == "ENOTDIR"
    assert mapped(daemon, b"/inside", b"inner") == mapped(daemon, b"/../sub", b"inner")
    assert mapped(daemon, b"/inside", b"inner")[0][0] == WHOLE


@pytest.mark.parametrize("chunk_max_bytes", [None, 8193, 1 << 20])
def test_each_chunk_holds_whole_records(daemon: Guestfsd, chunk_max_bytes: int | None) -> None:
    if chunk_max_bytes is not None:
        daemon.hello(chunk_max_bytes)
    names = (b"plain-1", b"many", b"none") * 300
    daemon.start_download(MAP_FILES, args(b"/", *names))
    *chunks, end = daemon.chunks()
    assert not end.cancelled
    assert max(len(chunk.data) for chunk in chunks) <= (chunk_max_bytes or constants.CHUNK_MAX_BYTES)
    files: list[int] = []
    count = 0
    for index, chunk in enumerate(chunks):
        for state, packed in decode_extents(chunk.data, 0 if index else FILESYSTEM.size):
            count += len(packed) // EXTENT.size
            if state != MORE:
                files.append(count)
                count = 0
    assert files[::3] == [1] * 300
    assert min(files[1::3]) >= MANY
    assert len(set(files[1::3])) == 1
    assert files[2::3] == [0] * 300


def test_extents_of_a_file_do_not_depend_on_how_many_are_asked_for_at_once(daemon: Guestfsd) -> None:
    before = b"".join(packed for _, packed in mapped(daemon, b"/", b"many"))
    daemon.hello()
    after = b"".join(packed for _, packed in mapped(daemon, b"/", b"many"))
    assert before == after
    *_, (logical, _, length, flags) = EXTENT.iter_unpack(after)
    assert (logical + length, flags & 1) == ((2 * MANY - 1) * 4096, 1)


def test_nothing_is_mapped_while_nothing_is_mounted(tmp_path: Path) -> None:
    with started(None) as guestfsd:
        assert "mount" in guestfsd.error(MAP_FILES, args(b"/", b"x"))[1]
        guestfsd.finish()
