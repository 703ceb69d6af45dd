"""Files that come in as chunks, whole or given up, and what is refused meanwhile."""

import os
import resource
from pathlib import Path

import pytest

from rpc import framing
from rpc.arguments import NoArgs
from rpc.codec import DeviceOrPath
from rpc.errors import ProcedureError
from rpc.events import CancelWord, Progress
from rpc.procedures import PING_DAEMON, UMASK, UPLOAD, UPLOAD_OFFSET
from rpc.procedures.names import UmaskArgs
from rpc.procedures.transfers import RemoteFileArgs, UploadOffsetArgs
from tests.daemon.guestfsd import Guestfsd, started

BIG_BYTES = (3 << 20) + 5


def target(path: bytes) -> RemoteFileArgs:
    return RemoteFileArgs(DeviceOrPath(path))


@pytest.mark.parametrize("size_bytes", [0, 1, 8192, 8193, BIG_BYTES])
def test_upload_makes_the_file(daemon: Guestfsd, guest: Path, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    daemon.upload(UPLOAD, target(b"/new"), data)
    assert (guest / "new").read_bytes() == data
    assert (guest / "new").stat().st_mode == 0o100644


def test_upload_in_long_chunks(daemon: Guestfsd, guest: Path) -> None:
    daemon.hello(1 << 20)
    data = os.urandom(BIG_BYTES)
    daemon.upload(UPLOAD, target(b"/new"), data)
    assert (guest / "new").read_bytes() == data


def test_upload_replaces_what_was_there_through_links_and_minds_the_umask(daemon: Guestfsd, guest: Path) -> None:
    (guest / "sub/inner").chmod(0o640)
    daemon.upload(UPLOAD, target(b"/link"), b"new")
    assert (guest / "sub/inner").read_bytes() == b"new"
    assert (guest / "sub/inner").stat().st_mode == 0o100640
    daemon.call(UMASK, UmaskArgs(0o77))
    daemon.upload(UPLOAD, target(b"/private"), b"new")
    assert (guest / "private").stat().st_mode == 0o100600


def test_upload_offset_changes_a_part(daemon: Guestfsd, guest: Path) -> None:
    daemon.upload(UPLOAD_OFFSET, UploadOffsetArgs(DeviceOrPath(b"/hello"), 7), b"WORLD")
    assert (guest / "hello").read_bytes() == b"hello, WORLD\n"
    daemon.upload(UPLOAD_OFFSET, UploadOffsetArgs(DeviceOrPath(b"/new"), 3), b"x")
    assert (guest / "new").read_bytes() == b"\0\0\0x"
    assert daemon.error(UPLOAD_OFFSET, UploadOffsetArgs(DeviceOrPath(b"/hello"), -1)) == ("", "offset -1 is negative")
    assert daemon.call(PING_DAEMON, NoArgs()) is None


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (b"/none/x", "ENOENT"),
        (b"/sub", "EISDIR"),
        (b"/hello/x", "ENOTDIR"),
        (b"/fifo", "ENXIO"),
        (b"/null", "EINVAL"),
    ],
)
def test_upload_to_what_cannot_be_written_is_cancelled(daemon: Guestfsd, path: bytes, errno: str) -> None:
    with pytest.raises(ProcedureError) as caught:
        daemon.upload(UPLOAD, target(path), bytes(BIG_BYTES))
    assert caught.value.errno_name == errno
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_device_that_is_not_there(daemon: Guestfsd) -> None:
    assert daemon.error(UPLOAD, target(b"/dev/sdzz"))[0] == "ENOENT"


def test_upload_cancelled_by_the_sender_leaves_what_has_come(daemon: Guestfsd, guest: Path) -> None:
    (guest / "old").write_bytes(b"longer than what comes now" * 1000)
    with pytest.raises(ProcedureError, match="cancelled") as caught:
        daemon.upload(UPLOAD, target(b"/old"), b"x" * 10_000, cancelled=True)
    assert caught.value.errno_name == ""
    assert (guest / "old").read_bytes() == b"x" * 10_000
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_failure_in_the_middle_stops_the_sender_before_the_reply(guest: Path) -> None:
    """A full disk, as far as a process can see it: no file may grow beyond a limit."""
    prelude = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))"
    )
    with started(guest, prelude=prelude) as guestfsd:
        guestfsd.channel.sendall(guestfsd.connection.send_call(UPLOAD, target(b"/new")))
        for _ in range(13):
            guestfsd.channel.sendall(guestfsd.connection.send_chunk(bytes(8192)))
        assert isinstance(guestfsd.next_event(), CancelWord)
        guestfsd.channel.sendall(guestfsd.connection.send_chunk(b"dropped"))
        guestfsd.channel.sendall(guestfsd.connection.send_end(cancelled=True))
        with pytest.raises(ProcedureError, match="/new") as caught:
            guestfsd.result(UPLOAD, guestfsd.reply())
        assert caught.value.errno_name == "EFBIG"
        assert (guest / "new").stat().st_size == 100_000
        assert guestfsd.call(PING_DAEMON, NoArgs()) is None


def test_cancel_words_between_chunks_are_skipped(daemon: Guestfsd, guest: Path) -> None:
    daemon.channel.sendall(daemon.connection.send_call(UPLOAD, target(b"/new")))
    daemon.channel.sendall(framing.CANCEL_WORD + daemon.connection.send_chunk(b"one") + framing.CANCEL_WORD)
    daemon.channel.sendall(daemon.connection.send_chunk(b"two") + daemon.connection.send_end() + framing.CANCEL_WORD)
    daemon.result(UPLOAD, daemon.reply())
    assert (guest / "new").read_bytes() == b"onetwo"
    assert daemon.call(PING_DAEMON, NoArgs()) is None


@pytest.mark.parametrize("hint", [0, BIG_BYTES])
def test_progress_of_an_upload_counts_to_the_length_that_was_announced(guest: Path, hint: int) -> None:
    with started(guest, prelude="import daemon.progress as p\np.DELAY_S = p.INTERVAL_S = 0") as guestfsd:
        guestfsd.upload(UPLOAD, target(b"/new"), bytes(BIG_BYTES), hint=hint)
        if not hint:
            assert guestfsd.progress == []
            return
        positions = [progress.position for progress in guestfsd.progress]
        assert len(positions) > 2
        assert positions == sorted(positions)
        assert guestfsd.progress[-1] == Progress(UPLOAD.number, guestfsd.progress[0].serial, hint, hint)
