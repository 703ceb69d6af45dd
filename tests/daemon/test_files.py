"""File data: parts, whole small files, downloads, checksums."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from rpc import constants
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import DeviceOrPath, FileName, GuestPath
from rpc.errors import ProcedureError
from rpc.hot import decode_file_contents
from rpc.procedures import CHECKSUM, DOWNLOAD, DOWNLOAD_OFFSET, LSTATNS, PING_DAEMON, PREAD, READ_FILES
from rpc.procedures.contents import PreadArgs
from rpc.procedures.extensions import ReadFilesArgs
from rpc.procedures.texts import ChecksumArgs
from rpc.procedures.transfers import DownloadOffsetArgs, RemoteFileArgs
from tests.daemon.guestfsd import Guestfsd

BIG_BYTES = 3 * (1 << 20) + 4097
FILES = [b"/fifo", b"/null", b"/disk", b"/socket"]
"""What opening for reading must neither wait for nor read."""


@pytest.fixture
def big(guest: Path) -> bytes:
    data = os.urandom(BIG_BYTES)
    (guest / "big").write_bytes(data)
    return data


def pread(daemon: Guestfsd, path: bytes, count: int, offset: int) -> bytes:
    return daemon.call(PREAD, PreadArgs(GuestPath(path), count, offset))


def test_pread_is_short_only_at_the_end(daemon: Guestfsd, big: bytes) -> None:
    assert pread(daemon, b"/big", 100, 5000) == big[5000:5100]
    assert pread(daemon, b"/big", 2 << 20, 1 << 20) == big[1 << 20 : 3 << 20]
    assert pread(daemon, b"/big", 5000, BIG_BYTES - 10) == big[-10:]
    assert pread(daemon, b"/big", 10, BIG_BYTES + 10) == b""
    assert pread(daemon, b"/big", 0, 0) == b""
    assert pread(daemon, b"/link", 100, 0) == b"inner"


@pytest.mark.parametrize(("count", "offset"), [(-1, 0), (1, -1), (constants.PREAD_COUNT_LIMIT, 0)])
def test_pread_out_of_range_is_refused(daemon: Guestfsd, count: int, offset: int) -> None:
    with pytest.raises(ProcedureError) as caught:
        pread(daemon, b"/hello", count, offset)
    assert caught.value.errno_name == ""
    assert daemon.error(PREAD, PreadArgs(GuestPath(b"/none"), count, offset))[0] == "ENOENT"


def test_longest_pread_that_fits_a_message_works_and_the_next_is_an_error(daemon: Guestfsd, guest: Path) -> None:
    with (guest / "huge").open("wb") as file:
        file.truncate(8 << 20)
    assert len(pread(daemon, b"/huge", constants.PREAD_MAX_BYTES, 1)) == constants.PREAD_MAX_BYTES
    with pytest.raises(ProcedureError, match="longer than the protocol allows"):
        pread(daemon, b"/huge", constants.PREAD_MAX_BYTES + 1, 0)
    assert daemon.call(PING_DAEMON, NoArgs()) is None


@pytest.mark.parametrize("path", FILES)
def test_only_regular_files_are_read(daemon: Guestfsd, path: bytes) -> None:
    with pytest.raises(ProcedureError):
        pread(daemon, path, 512, 0)
    with pytest.raises(ProcedureError):
        daemon.call(DOWNLOAD, RemoteFileArgs(DeviceOrPath(path)))
    with pytest.raises(ProcedureError):
        daemon.call(CHECKSUM, ChecksumArgs("md5", GuestPath(path)))
    assert daemon.call(LSTATNS, PathArgs(GuestPath(b"/hello"))).st_size == 13


def test_reading_a_directory_is_eisdir(daemon: Guestfsd) -> None:
    for call in (
        lambda: pread(daemon, b"/sub", 1, 0),
        lambda: daemon.call(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/sub"))),
    ):
        with pytest.raises(ProcedureError) as caught:
            call()
        assert caught.value.errno_name == "EISDIR"


@pytest.mark.parametrize("chunk_max_bytes", [None, 8192, 100_000, 1 << 20])
def test_download_is_the_file_in_chunks_of_the_agreed_length(
    daemon: Guestfsd, big: bytes, chunk_max_bytes: int | None
) -> None:
    if chunk_max_bytes is not None:
        assert daemon.hello(chunk_max_bytes).chunk_max_bytes == chunk_max_bytes
    daemon.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
    *chunks, end = daemon.chunks()
    assert not end.cancelled
    assert b"".join(chunk.data for chunk in chunks) == big
    assert max(len(chunk.data) for chunk in chunks) == (chunk_max_bytes or constants.CHUNK_MAX_BYTES)


def test_hello_grants_no_more_than_the_limit_and_refuses_less_than_the_protocols(daemon: Guestfsd) -> None:
    answer = daemon.hello(1 << 30)
    assert (answer.chunk_max_bytes, answer.version) == (1 << 20, constants.EXTENSION_VERSION)
    assert set(answer.extensions) == {"list_directories", "list_directory", "read_files", "resume"}
    with pytest.raises(ProcedureError):
        daemon.hello(8191)


@pytest.mark.parametrize("size_bytes", [0, 1, 2, 3, 4, 32768, 32769, (1 << 20) - 1, 1 << 20, (1 << 20) + 2])
def test_download_of_any_length_is_padded_right(daemon: Guestfsd, guest: Path, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    (guest / "odd").write_bytes(data)
    daemon.hello()
    assert daemon.download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/odd"))) == data
    assert daemon.call(PING_DAEMON, NoArgs()) is None


@pytest.mark.parametrize(
    ("offset", "size_bytes"), [(0, 10), (4097, 2 << 20), (BIG_BYTES - 5, 100), (BIG_BYTES + 1, 10), (7, 0)]
)
def test_download_offset_is_the_slice(daemon: Guestfsd, big: bytes, offset: int, size_bytes: int) -> None:
    daemon.hello()
    found = daemon.download(DOWNLOAD_OFFSET, DownloadOffsetArgs(DeviceOrPath(b"/big"), offset, size_bytes))
    assert found == big[offset : offset + size_bytes]


@pytest.mark.parametrize(("offset", "size_bytes"), [(-1, 1), (0, -1)])
def test_download_offset_refuses_negative_numbers(daemon: Guestfsd, offset: int, size_bytes: int) -> None:
    with pytest.raises(ProcedureError, match="negative"):
        daemon.call(DOWNLOAD_OFFSET, DownloadOffsetArgs(DeviceOrPath(b"/hello"), offset, size_bytes))


def test_read_files_tells_each_name_in_order(daemon: Guestfsd, guest: Path) -> None:
    (guest / "big").write_bytes(bytes(1001))
    (guest / "full").write_bytes(bytes(1000))
    names = [b"hello", b"big", b"full", b"none", b"sub", b"link", b"fifo", b"null", b"disk", b"caf\xe9", b".."]
    daemon.hello()
    args = ReadFilesArgs(GuestPath(b"/"), [FileName(name) for name in names], 1000)
    found = list(decode_file_contents(daemon.download(READ_FILES, args)))
    expected = [b"hello, world\n", None, bytes(1000), None, None, None, None, None, None, b"", None]
    assert found == expected


def test_read_files_keeps_records_whole(daemon: Guestfsd, guest: Path) -> None:
    contents = {b"%d" % number: os.urandom(number) for number in range(0, 8000, 13)}
    for name, data in contents.items():
        Path(os.fsdecode(os.fsencode(guest / "sub") + b"/" + name)).write_bytes(data)
    args = ReadFilesArgs(GuestPath(b"/sub"), [FileName(name) for name in contents], 8180)
    daemon.start_download(READ_FILES, args)
    found = [content for chunk in daemon.chunks() for content in decode_file_contents(chunk.data)]
    assert found == list(contents.values())
    with pytest.raises(ProcedureError, match="does not fit into a chunk"):
        daemon.call(READ_FILES, args._replace(max_bytes=8192))


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_checksum_is_hashlibs(daemon: Guestfsd, big: bytes, kind: str) -> None:
    assert daemon.call(CHECKSUM, ChecksumArgs(kind, GuestPath(b"/big"))) == hashlib.new(kind, big).hexdigest()


def test_crc_is_cksums(daemon: Guestfsd, guest: Path, big: bytes) -> None:
    output = subprocess.run(["cksum", guest / "big"], capture_output=True, check=True).stdout
    assert daemon.call(CHECKSUM, ChecksumArgs("crc", GuestPath(b"/big"))) == output.split()[0].decode()


def test_unknown_checksum_is_refused(daemon: Guestfsd) -> None:
    with pytest.raises(ProcedureError, match="unknown checksum type crc32") as caught:
        daemon.call(CHECKSUM, ChecksumArgs("crc32", GuestPath(b"/hello")))
    assert caught.value.errno_name == ""
