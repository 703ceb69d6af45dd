"""Extents as the daemon streams them: of regular files of one directory, in whole records, and of nothing else."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rpc.codec import GuestPath
from rpc.extents import EXTENT, MapDecoder, MapPart
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


def args(*groups: tuple[bytes, Sequence[bytes]]) -> MapFilesArgs:
    return MapFilesArgs([GuestPath(path) for path, _ in groups], b"/".join(b"\0".join(names) for _, names in groups))


def parts_of(daemon: Guestfsd, *groups: tuple[bytes, Sequence[bytes]]) -> list[MapPart]:
    decoder = MapDecoder(1 << 20)
    parts = list(decoder.feed(daemon.download(MAP_FILES, args(*groups))))
    decoder.finish()
    return parts


def mapped(daemon: Guestfsd, path: bytes, *names: bytes) -> list[bytes | None]:
    return [extents for part in parts_of(daemon, (path, names)) for extents in part.files]


def lengths(files: Sequence[bytes | None]) -> list[int | None]:
    """Return how many bytes the extents of each file are."""
    return [None if each is None else sum(extent[2] for extent in EXTENT.iter_unpack(each)) for each in files]


def test_files_are_answered_in_the_order_asked(daemon: Guestfsd) -> None:
    found = mapped(daemon, b"/", b"plain-4096", b"all-hole", b"none", b"plain-0", b"plain-4097", b"caf\xe9 \n")
    assert lengths(found) == [4096, 0, None, 0, 8192, 4096]
    assert mapped(daemon, b"/") == []
    assert parts_of(daemon) == []


def test_directories_are_answered_in_the_order_asked(daemon: Guestfsd) -> None:
    groups: list[tuple[bytes, Sequence[bytes]]] = [(b"/sub", [b"inner"]), (b"/missing", [b"x", b"y"])]
    groups += [(b"/plain-1", [b"z"]), (b"/", []), (b"/", [b"plain-1"])]
    parts = parts_of(daemon, *groups)
    assert [lengths(part.files) for part in parts] == [[16384], [None, None], [None], [4096]]
    assert [bool(part.filesystem) for part in parts] == [True, False, False, True]


def test_what_is_no_regular_file_is_refused_and_not_waited_for(daemon: Guestfsd) -> None:
    names = (b"fifo", b"socket", b"disk", b"link", b"away", b"")
    assert mapped(daemon, b"/", *names) == [None] * len(names)


@pytest.mark.parametrize("names", [(b"..",), (b"plain-1", b".."), (b"", b"..", b"")])
def test_name_that_leaves_the_directory_is_an_error(daemon: Guestfsd, names: Sequence[bytes]) -> None:
    assert daemon.error(MAP_FILES, args((b"/", names))) == ("", "a name must not be ..")


@pytest.mark.parametrize("names", [b"plain-1/../etc", b"/etc/passwd", b"sub/inner"])
def test_names_are_those_of_as_many_directories_as_are_given(daemon: Guestfsd, names: bytes) -> None:
    errno_name, text = daemon.error(MAP_FILES, MapFilesArgs([GuestPath(b"/")], names))
    assert not errno_name
    assert "directories where 1 are given" in text


def test_links_of_the_path_end_inside_the_guest(daemon: Guestfsd) -> None:
    assert mapped(daemon, b"/away", b"passwd") == [None]
    assert mapped(daemon, b"/inside", b"inner") == mapped(daemon, b"/../sub", b"inner")
    assert lengths(mapped(daemon, b"/inside", b"inner")) == [16384]


@pytest.mark.parametrize("chunk_max_bytes", [None, 8193, 1 << 20])
def test_files_are_told_from_each_other_however_long_chunks_are(daemon: Guestfsd, chunk_max_bytes: int | None) -> None:
    if chunk_max_bytes is not None:
        daemon.hello(chunk_max_bytes)
    found = mapped(daemon, b"/", *(b"plain-1", b"many", b"none") * 300)
    assert lengths(found[::3]) == [4096] * 300
    assert found[2::3] == [None] * 300
    assert set(found[1::3]) == {found[1]}
    assert found[1] is not None
    *_, (logical, _, length, flags) = EXTENT.iter_unpack(found[1])
    assert len(found[1]) >= MANY * EXTENT.size
    assert (logical + length, flags & 1) == ((2 * MANY - 1) * 4096, 1)


def test_nothing_stays_open(daemon: Guestfsd) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))

    mapped(daemon, b"/", b"plain-1")
    before = descriptors()
    mapped(daemon, b"/", *(b"plain-1", b"many", b"none") * 300)
    assert descriptors() == before


def test_nothing_is_mapped_while_nothing_is_mounted(tmp_path: Path) -> None:
    with started(None) as guestfsd:
        assert "mount" in guestfsd.error(MAP_FILES, args((b"/", [b"x"])))[1]
        guestfsd.finish()
