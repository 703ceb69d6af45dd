"""The conversation: order of checks, errors, cancellation, progress, ends (guestfs-protocol section 3)."""

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from rpc import constants, framing
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import DeviceOrPath, GuestPath
from rpc.connection import Role
from rpc.errors import ProcedureError
from rpc.events import Header, Message, Progress
from rpc.procedure import Procedure
from rpc.procedures import (
    AVAILABLE_ALL_GROUPS,
    CHECKSUM,
    CHECKSUMS_OUT,
    DOWNLOAD,
    FIND0,
    GET_UMASK,
    INTERNAL_FEATURE_AVAILABLE,
    LN_S,
    LSTATNS,
    PING_DAEMON,
    TAR_OUT,
    UMASK,
    UPLOAD,
    UTSNAME,
)
from rpc.procedures.archives import ChecksumsOutArgs, TarOutArgs
from rpc.procedures.control import InternalFeatureAvailableArgs
from rpc.procedures.directories import Find0Args
from rpc.procedures.names import UmaskArgs
from rpc.procedures.texts import ChecksumArgs
from rpc.procedures.transfers import RemoteFileArgs
from rpc.xdr import Writer
from tests.daemon.guestfsd import Guestfsd, started
from tests.rpc.captured import CAPTURES

REFUSALS = [
    "090-bad_program",
    "092-unknown_proc",
    "091-bad_version_stale",
    "093-optargs_on_plain_proc",
    "094-optargs_unknown_bit",
    "095-args_truncated",
    "096-relative_path",
    "097-idle_cancel_ignored",
    "098-pread_too_large",
]
"""Recorded in this order, which the stale header in 091 depends on."""
BIG_BYTES = 8 << 20


class Wire:
    """Units as they come, whatever they are."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = framing.FrameBuffer()

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)

    def send_call(self, proc: int, body: bytes = b"", serial: int = 7, bitmask: int = 0) -> None:
        self.send(framing.encode_message(Header.call(proc, serial, 0, bitmask), [body]))

    def receive(self) -> tuple[int, bytes]:
        """Return a unit's first word and what is behind it."""
        while (unit := self._buffer.next_unit()) is None:
            data = self._channel.recv(1 << 16)
            if not data:
                raise EOFError
            self._buffer.feed(data)
        return unit[0], bytes(unit[1])

    def message(self) -> Message:
        word, frame = self.receive()
        assert word <= constants.MESSAGE_MAX_BYTES
        return framing.decode_message(memoryview(frame))


@pytest.fixture
def wire(daemon: Guestfsd) -> Wire:
    return Wire(daemon.channel)


def test_launch_word_comes_first_and_alone(guest: Path) -> None:
    with started(guest) as guestfsd:
        guestfsd.channel.setblocking(False)
        with pytest.raises(BlockingIOError):
            guestfsd.channel.recv(1)


def test_refused_calls_get_the_recorded_headers_and_errnos(wire: Wire, guest: Path) -> None:
    (guest / "hello.txt").touch()
    for name in REFUSALS:
        for sender, data in CAPTURES[f"{name}.hex"]:
            if sender is Role.CLIENT:
                wire.send(data)
                continue
            expected, found = framing.decode_message(memoryview(data)[4:]), wire.message()
            assert found.header == expected.header, name
            if found.header.status:
                errno_name, text = framing.decode_error(found.body)
                assert errno_name == framing.decode_error(expected.body)[0], name
                assert text, name


@pytest.mark.parametrize("proc", [-1, 0, 4, 999, 9999, 20000])
def test_unknown_procedure_is_an_error_without_errno(wire: Wire, proc: int) -> None:
    wire.send_call(proc)
    reply = wire.message()
    assert reply.header == Header.reply(proc, 7, constants.STATUS_ERROR)
    assert framing.decode_error(reply.body)[0] == ""


@pytest.mark.parametrize("bitmask", [2, 1 << 63])
def test_unknown_optional_argument_bits_are_refused(wire: Wire, bitmask: int) -> None:
    is_file = 37
    wire.send_call(is_file, struct.pack(">I4sI", 1, b"/\0\0\0", 1), bitmask=bitmask)
    assert wire.message().header.status == constants.STATUS_ERROR
    wire.send_call(is_file, struct.pack(">I4sI", 1, b"/\0\0\0", 1), bitmask=1)
    assert wire.message().body == struct.pack(">I", 0)


def test_optional_argument_without_its_bit_is_ignored(wire: Wire) -> None:
    is_file = 37
    body = struct.pack(">I8sI", 5, b"/link\0\0\0", 1)
    wire.send_call(is_file, body, bitmask=0)
    assert wire.message().body == struct.pack(">I", 0)
    wire.send_call(is_file, body, bitmask=1)
    assert wire.message().body == struct.pack(">I", 1)


def test_bytes_behind_the_arguments_are_ignored(wire: Wire) -> None:
    wire.send_call(PING_DAEMON.number, b"appended by a newer library ")
    assert wire.message().header == Header.reply(PING_DAEMON.number, 7, constants.STATUS_OK)


@pytest.mark.parametrize(
    ("procedure", "texts"),
    [(LSTATNS, [b"/hello\0/x"]), (LN_S, [b"target\0rest", b"/new"]), (LN_S, [b"target", b"/new\0rest"])],
)
def test_nul_in_a_text_is_refused(wire: Wire, guest: Path, procedure: Procedure[Any, Any], texts: list[bytes]) -> None:
    """Whoever took it for the end of the text would do something else than was asked."""
    writer = Writer()
    for text in texts:
        writer.opaque(text)
    wire.send_call(procedure.number, writer.getvalue())
    name, message = framing.decode_error(wire.message().body)
    assert name == ""
    assert "must not contain NUL" in message
    assert not (guest / "new").is_symlink()


def test_nothing_mounted_is_an_error_that_comes_after_the_path_check() -> None:
    with started(None) as guestfsd:
        for path, text in ((b"hello", "must begin with /"), (b"/", "mount")):
            with pytest.raises(ProcedureError, match=text) as caught:
                guestfsd.call(LSTATNS, PathArgs(GuestPath(path)))
            assert caught.value.errno_name == ""
        file = RemoteFileArgs(DeviceOrPath(b"/file"))
        calls: list[tuple[Procedure[Any, Any], Any]] = [(DOWNLOAD, file), (UPLOAD, file), (TAR_OUT, TarOutArgs("/"))]
        for procedure, args in calls:
            assert guestfsd.error(procedure, args) == ("", "nothing is mounted; mount a filesystem first")
        assert guestfsd.error(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/dev/sdzz")))[0] == "ENOENT"
        assert guestfsd.finish() == (0, "")


def test_pipelined_calls_are_answered_in_order(wire: Wire) -> None:
    calls = [framing.encode_message(Header.call(92, serial), []) for serial in range(500)]
    wire.send(b"".join(calls))
    assert [wire.message().header.serial for _ in range(500)] == list(range(500))


@pytest.mark.parametrize("proc", [66, 69, 71, 229, 241, 242, 273, 309, 397, 413, 472])
@pytest.mark.parametrize("last", [framing.END_CHUNK, framing.CANCEL_CHUNK])
def test_refused_upload_is_cancelled_and_drained_before_the_reply(wire: Wire, proc: int, last: bytes) -> None:
    wire.send_call(proc, struct.pack(">I8sQQ", 8, b"/nodir/f", 0, 0))
    assert wire.receive() == (constants.CANCEL, b"")
    wire.send(framing.encode_chunk(bytes(4000)) + framing.CANCEL_WORD + last)
    reply = wire.message()
    assert reply.header == Header.reply(proc, 7, constants.STATUS_ERROR)
    wire.send_call(PING_DAEMON.number)
    assert wire.message().header.status == constants.STATUS_OK


def test_upload_whose_chunks_came_already_is_drained_too(wire: Wire) -> None:
    chunks = framing.encode_chunk(bytes(range(40))) * 3 + framing.END_CHUNK
    body = struct.pack(">I8s", 8, b"/nodir/f")
    wire.send(framing.encode_message(Header.call(UPLOAD.number, 9), [body]) + chunks)
    assert wire.receive() == (constants.CANCEL, b"")
    assert wire.message().header == Header.reply(UPLOAD.number, 9, constants.STATUS_ERROR)


@pytest.fixture
def big(guest: Path) -> None:
    with (guest / "big").open("wb") as file:
        file.truncate(BIG_BYTES)


@pytest.mark.usefixtures("big")
@pytest.mark.parametrize("chunk_max_bytes", [8192, 1 << 20])
def test_cancelled_download_ends_with_one_cancel_chunk(daemon: Guestfsd, chunk_max_bytes: int) -> None:
    daemon.hello(chunk_max_bytes)
    daemon.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
    chunks = daemon.chunks()
    received_bytes = len(next(chunks).data)
    daemon.channel.sendall(daemon.connection.send_cancel_word())
    *rest, end = chunks
    received_bytes += sum(len(chunk.data) for chunk in rest)
    assert end.cancelled
    assert received_bytes < BIG_BYTES
    # Whatever else had been sent would stand before this answer.
    assert daemon.call(PING_DAEMON, NoArgs()) is None


SILENT = "import daemon.archives as a\nstream = a.stream_confined\na.stream_confined = lambda *_: stream(_[0], [{}])"


def test_silent_transfer_is_cancelled_at_once(guest: Path) -> None:
    """Its program would write nothing for longer than a client waits."""
    with started(guest, prelude=SILENT.format('"sleep", "1000"')) as guestfsd:
        guestfsd.start_download(CHECKSUMS_OUT, ChecksumsOutArgs("md5", GuestPath(b"/")))
        guestfsd.channel.sendall(guestfsd.connection.send_cancel_word())
        assert [chunk.cancelled for chunk in guestfsd.chunks()] == [True]
        assert guestfsd.progress[0].total == 1
        assert guestfsd.call(PING_DAEMON, NoArgs()) is None
        assert guestfsd.finish() == (0, "")


def test_program_that_fails_after_a_while_still_has_an_error_text(guest: Path) -> None:
    with started(guest, prelude=SILENT.format('"sh", "-c", "sleep 1; echo lost >&2; false"')) as guestfsd:
        assert guestfsd.error(CHECKSUMS_OUT, ChecksumsOutArgs("md5", GuestPath(b"/"))) == ("", "lost")


def test_cancel_word_after_the_end_is_ignored(daemon: Guestfsd) -> None:
    assert daemon.download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/hello"))) == b"hello, world\n"
    daemon.channel.sendall(framing.CANCEL_WORD)
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_file_that_shrinks_during_its_download_just_ends(daemon: Guestfsd, guest: Path, big: None) -> None:
    daemon.hello()
    daemon.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
    os.truncate(guest / "big", 0)  # most of it cannot have been sent yet: the channel holds less
    *chunks, end = daemon.chunks()
    assert not end.cancelled
    assert sum(len(chunk.data) for chunk in chunks) < BIG_BYTES


def test_error_in_the_middle_of_a_transfer_is_one_cancel_chunk(guest: Path) -> None:
    prelude = "\n".join(
        (
            "import daemon.trees, os",
            "def failing(*_args):",
            "    yield bytes(20000)",
            "    raise OSError(5, os.strerror(5))",
            "daemon.trees.stream_confined = failing",
        )
    )
    with started(guest, prelude=prelude) as guestfsd:
        guestfsd.start_download(FIND0, Find0Args(GuestPath(b"/sub")))
        *chunks, end = guestfsd.chunks()
        assert b"".join(chunk.data for chunk in chunks) == bytes(20000)
        assert end.cancelled
        assert guestfsd.call(PING_DAEMON, NoArgs()) is None
        status, errors = guestfsd.finish()
        assert (status, errors) == (0, "guestfsd: a transfer is given up: Input/output error\n")


def test_bug_in_a_handler_is_answered_and_reported(guest: Path) -> None:
    prelude = "import daemon.stat, os\ndaemon.stat.stat_fields = lambda info: 1 // 0"
    with started(guest, prelude=prelude) as guestfsd:
        with pytest.raises(ProcedureError, match="a bug in guestfsd: ZeroDivisionError") as caught:
            guestfsd.call(LSTATNS, PathArgs(GuestPath(b"/hello")))
        assert caught.value.errno_name == ""
        assert guestfsd.call(PING_DAEMON, NoArgs()) is None
        status, errors = guestfsd.finish()
        assert status == 0
        assert "Traceback" in errors


NO_DELAY = "import daemon.progress as p\np.DELAY_S = p.INTERVAL_S = 0"


@pytest.mark.usefixtures("big")
def test_progress_of_a_download_grows_to_its_whole(guest: Path) -> None:
    with started(guest, prelude=NO_DELAY) as guestfsd:
        guestfsd.hello()
        guestfsd.download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
        positions = [progress.position for progress in guestfsd.progress]
        assert positions == sorted(positions)
        assert len(positions) > 2
        assert {progress.total for progress in guestfsd.progress} == {BIG_BYTES}
        assert guestfsd.progress[-1].position == BIG_BYTES
        assert {progress.proc for progress in guestfsd.progress} == {DOWNLOAD.number}


@pytest.mark.usefixtures("big")
def test_progress_of_unknown_length_pulses(guest: Path) -> None:
    with started(guest, prelude=NO_DELAY) as guestfsd:
        guestfsd.call(CHECKSUM, ChecksumArgs("md5", GuestPath(b"/big")))
        *pulses, last = guestfsd.progress
        serial = constants.FIRST_SERIAL
        assert set(pulses) == {Progress(CHECKSUM.number, serial, 0, 1)}
        assert last == Progress(CHECKSUM.number, serial, 1, 1)


@pytest.mark.usefixtures("big")
def test_short_call_sends_no_progress(daemon: Guestfsd) -> None:
    daemon.call(CHECKSUM, ChecksumArgs("md5", GuestPath(b"/big")))
    assert daemon.progress == []


@pytest.mark.parametrize(
    "last_words",
    [
        b"",
        struct.pack(">I", constants.MESSAGE_MAX_BYTES + 1),
        struct.pack(">I", 39) + bytes(39),
        framing.encode_message(Header.call(92, 1), [])[:20],
    ],
    ids=["end of file", "oversized length", "short header", "cut short"],
)
def test_daemon_ends_when_nothing_sensible_can_follow(guest: Path, last_words: bytes) -> None:
    with started(guest) as guestfsd:
        guestfsd.channel.sendall(last_words)
        guestfsd.channel.shutdown(socket.SHUT_WR)
        assert guestfsd.channel.recv(1) == b""
        assert guestfsd.finish()[0] == 0


@pytest.mark.usefixtures("big")
def test_daemon_ends_when_a_call_comes_in_a_download(guest: Path) -> None:
    with started(guest) as guestfsd:
        guestfsd.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
        guestfsd.channel.sendall(framing.encode_message(Header.call(92, 1), []))
        with pytest.raises(EOFError):
            list(guestfsd.chunks())
        status, errors = guestfsd.finish()
        assert status == 0
        assert errors.startswith("guestfsd: the host broke the protocol: ")
        assert errors.count("\n") == 1


@pytest.mark.usefixtures("big")
def test_daemon_ends_when_the_channel_closes_in_a_transfer(guest: Path) -> None:
    with started(guest) as guestfsd:
        guestfsd.start_download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big")))
        assert guestfsd.finish() == (0, "")


def test_verbose_daemon_writes_a_line_for_each_call(guest: Path) -> None:
    with started(guest, "-v") as guestfsd:
        guestfsd.call(PING_DAEMON, NoArgs())
        _, errors = guestfsd.finish()
        assert errors.startswith("guestfsd: ping_daemon ")


@pytest.mark.parametrize("arguments", [[], ["--channel"], ["--appliance", "--channel", "fd:0"], ["--what"], ["--help"]])
def test_wrong_options_get_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from daemon.__main__ import main

    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_umask_stays_and_is_checked(daemon: Guestfsd) -> None:
    assert daemon.call(UMASK, UmaskArgs(0o27)) == 0o22
    assert daemon.call(GET_UMASK, NoArgs()) == 0o27
    with pytest.raises(ProcedureError, match="umask"):
        daemon.call(UMASK, UmaskArgs(0o1000))
    assert daemon.call(GET_UMASK, NoArgs()) == 0o27


def test_groups_and_kernel(daemon: Guestfsd) -> None:
    def available(group: str) -> int:
        return daemon.call(INTERNAL_FEATURE_AVAILABLE, InternalFeatureAvailableArgs(group))

    groups = daemon.call(AVAILABLE_ALL_GROUPS, NoArgs())
    assert groups == sorted(groups)
    assert available("linuxxattrs") == 0
    assert available("no such group") == 2
    assert all(available(group) in (0, 1) for group in groups)
    assert daemon.call(UTSNAME, NoArgs()) == tuple(os.uname())[:1] + tuple(os.uname())[2:]
