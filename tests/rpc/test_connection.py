"""Conversations between two connections: every kind of call, every way to break one off."""

import errno
from typing import Any

import pytest

from rpc import constants, framing
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import Device, DeviceOrPath, GuestPath
from rpc.connection import Connection, Phase, Role
from rpc.errors import LocalProtocolError, RemoteProtocolError
from rpc.events import CancelWord, Chunk, Header, Launch, Message, Progress
from rpc.procedures import DOWNLOAD, LSTATNS, MKFS, PING_DAEMON, PREAD, UPLOAD, VFS_TYPE
from rpc.procedures.contents import PreadArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.transfers import RemoteFileArgs
from rpc.types import Statns
from rpc.xdr import Reader
from tests.rpc.ends import Ends, events_of

STAT = Statns._make(range(22))
PATH = PathArgs(GuestPath(b"/file"))
FILE = DeviceOrPath(b"/file")


@pytest.fixture(params=[1, 7, 1 << 20], ids=["byte by byte", "in sevens", "whole"])
def ends(request: pytest.FixtureRequest) -> Ends:
    return Ends(request.param)


def phases(ends: Ends) -> tuple[Phase, Phase]:
    return ends.client.phase, ends.daemon.phase


IDLE = (Phase.IDLE, Phase.IDLE)


def test_launch_comes_once() -> None:
    client = Connection(Role.CLIENT)
    client.receive_data(framing.encode_progress(Progress(0, 0, 0, 1)) + framing.LAUNCH_WORD)
    assert [type(event) for event in events_of(client)] == [Progress, Launch]
    client.receive_data(framing.LAUNCH_WORD)
    with pytest.raises(RemoteProtocolError, match="LAUNCH in IDLE"):
        client.next_event()


def test_plain_call(ends: Ends) -> None:
    (call,) = ends.to_daemon(ends.client.send_call(LSTATNS, PATH))
    assert isinstance(call, Message)
    assert call.header == Header.call(422, constants.FIRST_SERIAL)
    assert LSTATNS.args_codec.decode(Reader(call.body)) == PATH
    (reply,) = ends.to_client(ends.daemon.send_result(call.header, LSTATNS, STAT))
    assert isinstance(reply, Message)
    assert LSTATNS.result.decode(Reader(reply.body)) == STAT
    assert phases(ends) == IDLE


def test_serials_count_up(ends: Ends) -> None:
    for count in range(3):
        header = ends.called(PING_DAEMON, NoArgs())
        assert header.serial == constants.FIRST_SERIAL + count
        ends.to_client(ends.daemon.send_reply(header, b""))


def test_optional_arguments_set_their_bits(ends: Ends) -> None:
    args = MkfsArgs("ext4", Device("/dev/sda"), blocksize=4096, label="root")
    assert ends.called(MKFS, args).optargs_bitmask == 0x11


def test_error_reply(ends: Ends) -> None:
    header = ends.called(LSTATNS, PATH)
    (reply,) = ends.to_client(ends.daemon.send_error(header.proc, header.serial, errno.ENOENT, "/file: no such file"))
    assert isinstance(reply, Message)
    assert reply.header.status == constants.STATUS_ERROR
    assert framing.decode_error(reply.body) == ("ENOENT", "/file: no such file")
    assert phases(ends) == IDLE


def test_progress_and_cancel_word_before_a_reply_are_no_reply(ends: Ends) -> None:
    header = ends.called(LSTATNS, PATH)
    progress = Progress(422, header.serial, 1, 2)
    events = ends.to_client(framing.encode_progress(progress) + framing.CANCEL_WORD)
    assert events[0] == progress
    assert isinstance(events[1], CancelWord)
    assert ends.client.phase is Phase.CALLED


def test_pipelined_plain_calls_are_answered_in_order() -> None:
    ends = Ends()
    first = ends.client.send_call(PING_DAEMON, NoArgs())
    ends.daemon.receive_data(first + first)
    for _ in range(2):
        call = ends.daemon.next_event()
        assert isinstance(call, Message)
        ends.daemon.send_reply(call.header, b"")
    assert ends.daemon.phase is Phase.IDLE


def test_download(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    events = ends.to_client(
        ends.daemon.send_reply(header, b"", streams=True)
        + ends.daemon.send_chunk(b"x" * 8192)
        + framing.encode_progress(Progress(67, header.serial, 8192, 8195))
        + ends.daemon.send_chunk(memoryview(b"end"))
        + ends.daemon.send_end()
    )
    assert b"".join(event.data for event in events if isinstance(event, Chunk)) == b"x" * 8192 + b"end"
    assert events[-1] == Chunk(b"")
    assert phases(ends) == IDLE


def test_download_of_an_empty_file(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    events = ends.to_client(ends.daemon.send_reply(header, b"", streams=True) + ends.daemon.send_end())
    assert events[1:] == [Chunk(b"")]
    assert phases(ends) == IDLE


def test_download_error_has_no_chunks(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(ends.daemon.send_error(header.proc, header.serial, errno.ENOENT, "no such file"))
    assert phases(ends) == IDLE


def test_download_cancelled_by_the_client(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(ends.daemon.send_reply(header, b"", streams=True) + ends.daemon.send_chunk(b"data"))
    (event,) = ends.to_daemon(ends.client.send_cancel_word())
    assert isinstance(event, CancelWord)
    assert ends.to_client(ends.daemon.send_end(cancelled=True)) == [Chunk(b"", cancelled=True)]
    assert phases(ends) == IDLE


def test_download_cancelled_too_late(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(ends.daemon.send_reply(header, b"", streams=True))
    word, end = ends.client.send_cancel_word(), ends.daemon.send_end()
    assert ends.to_client(end) == [Chunk(b"")]
    (event,) = ends.to_daemon(word)
    assert isinstance(event, CancelWord)
    assert phases(ends) == IDLE
    ends.called(PING_DAEMON, NoArgs())


def test_download_given_up_by_the_daemon(ends: Ends) -> None:
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(ends.daemon.send_reply(header, b"", streams=True))
    assert ends.to_client(ends.daemon.send_end(cancelled=True)) == [Chunk(b"", cancelled=True)]
    assert phases(ends) == IDLE


def uploading(ends: Ends) -> Header:
    header = ends.called(UPLOAD, RemoteFileArgs(FILE))
    ends.daemon.begin_upload()
    return header


def test_upload(ends: Ends) -> None:
    header = uploading(ends)
    events = ends.to_daemon(ends.client.send_chunk(b"one") + ends.client.send_chunk(b"two") + ends.client.send_end())
    assert events == [Chunk(b"one"), Chunk(b"two"), Chunk(b"")]
    ends.to_client(ends.daemon.send_reply(header, b""))
    assert phases(ends) == IDLE


def test_upload_size_is_the_progress_hint(ends: Ends) -> None:
    (call,) = ends.to_daemon(ends.client.send_call(UPLOAD, RemoteFileArgs(FILE), 8200))
    assert isinstance(call, Message)
    assert call.header.progress_hint == 8200


def test_upload_cancelled_by_the_client(ends: Ends) -> None:
    header = uploading(ends)
    events = ends.to_daemon(ends.client.send_chunk(b"one") + ends.client.send_end(cancelled=True))
    assert events[-1] == Chunk(b"", cancelled=True)
    ends.to_client(ends.daemon.send_error(header.proc, header.serial, 0, "the upload was cancelled"))
    assert phases(ends) == IDLE


def test_upload_rejected_by_the_daemon_is_drained(ends: Ends) -> None:
    header = uploading(ends)
    (event,) = ends.to_client(ends.daemon.send_cancel_word())
    assert isinstance(event, CancelWord)
    ends.to_daemon(ends.client.send_chunk(b"crossed") + ends.client.send_end(cancelled=True))
    ends.to_client(ends.daemon.send_error(header.proc, header.serial, errno.ENOSPC, "disk full"))
    assert phases(ends) == IDLE


def test_upload_rejected_after_the_end_chunk_was_sent(ends: Ends) -> None:
    header = uploading(ends)
    sent = ends.client.send_chunk(b"all") + ends.client.send_end()
    (event,) = ends.to_client(ends.daemon.send_cancel_word())
    assert isinstance(event, CancelWord)
    ends.to_daemon(sent)
    ends.to_client(ends.daemon.send_error(header.proc, header.serial, errno.EIO, "failed"))
    assert phases(ends) == IDLE


def test_daemon_skips_cancel_words_between_chunks_and_when_idle(ends: Ends) -> None:
    assert [type(event) for event in ends.to_daemon(framing.CANCEL_WORD * 2)] == [CancelWord, CancelWord]
    uploading(ends)
    ends.to_daemon(framing.CANCEL_WORD)
    assert ends.to_daemon(ends.client.send_chunk(b"data")) == [Chunk(b"data")]


def test_longer_chunks_must_be_agreed_on() -> None:
    ends = Ends()
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(ends.daemon.send_reply(header, b"", streams=True))
    with pytest.raises(LocalProtocolError, match="8192"):
        ends.daemon.send_chunk(bytes(8193))
    ends.daemon.chunk_max_bytes = 1 << 20
    chunk = ends.daemon.send_chunk(bytes(1 << 20))
    ends.client.chunk_max_bytes = 1 << 20
    assert ends.to_client(chunk) == [Chunk(bytes(1 << 20))]
    ends.client.chunk_max_bytes = 8192
    with pytest.raises(RemoteProtocolError, match="longer than the 8192"):
        ends.to_client(ends.daemon.send_chunk(bytes(8193)))


def test_empty_chunk_is_not_sent_by_mistake() -> None:
    ends = Ends()
    uploading(ends)
    with pytest.raises(LocalProtocolError):
        ends.client.send_chunk(b"")


@pytest.mark.parametrize(
    "change",
    [{"prog": 1}, {"vers": 5}, {"proc": 421}, {"direction": 0}, {"serial": 7}],
    ids=lambda change: next(iter(change)),
)
def test_reply_with_a_wrong_header_finishes_the_client(change: dict[str, int]) -> None:
    ends = Ends()
    header = ends.called(LSTATNS, PATH)
    wrong = Header.reply(header.proc, header.serial, 0)._replace(**change)
    with pytest.raises(RemoteProtocolError, match="wrong header"):
        ends.to_client(framing.encode_message(wrong, [bytes(176)]))
    assert ends.client.phase is Phase.FINISHED
    with pytest.raises(LocalProtocolError):
        ends.client.send_call(LSTATNS, PATH)


@pytest.mark.parametrize("data", [framing.encode_message(Header.reply(92, 0x123400, 0), []), framing.LAUNCH_WORD])
def test_unasked_message_finishes_the_client(data: bytes) -> None:
    client = Connection(Role.CLIENT)
    client.receive_data(framing.LAUNCH_WORD)
    client.next_event()
    client.receive_data(data)
    with pytest.raises(RemoteProtocolError):
        client.next_event()
    client.receive_data(framing.CANCEL_WORD)
    with pytest.raises(RemoteProtocolError, match="finished"):
        client.next_event()


def test_unknown_status_counts_as_success() -> None:
    ends = Ends()
    header = ends.called(DOWNLOAD, RemoteFileArgs(FILE))
    ends.to_client(framing.encode_message(Header.reply(header.proc, header.serial, 2), []))
    assert ends.client.phase is Phase.DOWNLOADING


def test_call_with_a_wrong_header_is_handed_out_for_the_daemon_to_judge() -> None:
    ends = Ends()
    wrong = Header.call(-7, 1)._replace(prog=1, vers=9, direction=1)
    assert ends.to_daemon(framing.encode_message(wrong, [b"body"])) == [Message(wrong, b"body")]


@pytest.mark.parametrize("first", [b"\0\0\0\x27" + bytes(39), b"\0\x40\0\1", framing.LAUNCH_WORD, b"\xff\xff\x55\x55"])
def test_impossible_unit_finishes_the_daemon(first: bytes) -> None:
    ends = Ends()
    with pytest.raises(RemoteProtocolError):
        ends.to_daemon(first + bytes(24))
    assert ends.daemon.phase is Phase.FINISHED


def test_result_that_does_not_fit_leaves_room_for_an_error() -> None:
    ends = Ends()
    header = ends.called(PREAD, PreadArgs(GuestPath(b"/f"), 4194261, 0))
    with pytest.raises(LocalProtocolError):
        ends.daemon.send_result(header, PREAD, bytes(constants.PREAD_MAX_BYTES + 1))
    with pytest.raises(LocalProtocolError):
        ends.daemon.send_result(header, VFS_TYPE, "\ud800")
    ends.to_client(ends.daemon.send_error(header.proc, header.serial, 0, "the reply would be too long"))
    header = ends.called(PREAD, PreadArgs(GuestPath(b"/f"), 4194260, 0))
    (reply,) = ends.to_client(ends.daemon.send_result(header, PREAD, bytes(constants.PREAD_MAX_BYTES)))
    assert isinstance(reply, Message)
    assert len(PREAD.result.decode(Reader(reply.body))) == constants.PREAD_MAX_BYTES


def test_arguments_that_do_not_fit_leave_the_client_idle() -> None:
    ends = Ends()
    with pytest.raises(LocalProtocolError):
        ends.client.send_call(PREAD, PreadArgs(GuestPath(b"/f"), 1 << 31, 0))
    with pytest.raises(LocalProtocolError):
        ends.client.send_call(LSTATNS, PathArgs(GuestPath(bytes(4 << 20))))
    assert ends.client.phase is Phase.IDLE
    assert ends.called(LSTATNS, PATH).serial == constants.FIRST_SERIAL


def _steps(ends: Ends) -> dict[str, Any]:
    header = Header.call(422, 1)
    return {
        "client call": lambda: ends.client.send_call(LSTATNS, PATH),
        "client chunk": lambda: ends.client.send_chunk(b"x"),
        "client end": ends.client.send_end,
        "client cancel": ends.client.send_cancel_word,
        "client upload": ends.client.begin_upload,
        "client launch": ends.client.send_launch,
        "daemon call": lambda: ends.daemon.send_call(LSTATNS, PATH),
        "daemon launch": ends.daemon.send_launch,
        "daemon reply": lambda: ends.daemon.send_reply(header, b""),
        "daemon error": lambda: ends.daemon.send_error(422, 1, 0, ""),
        "daemon chunk": lambda: ends.daemon.send_chunk(b"x"),
        "daemon end": ends.daemon.send_end,
        "daemon cancel": ends.daemon.send_cancel_word,
        "daemon upload": ends.daemon.begin_upload,
    }


@pytest.mark.parametrize(
    ("phase", "allowed"),
    [
        (Phase.STARTING, {"daemon launch"}),
        (Phase.IDLE, {"client call"}),
        (Phase.CALLED, {"daemon reply", "daemon error", "daemon upload"}),
        (Phase.UPLOADING, {"client chunk", "client end", "daemon cancel"}),
        (Phase.DOWNLOADING, {"daemon chunk", "daemon end", "client cancel"}),
        (Phase.FINISHED, set()),
    ],
)
def test_only_what_a_phase_allows_is_sent(phase: Phase, allowed: set[str]) -> None:
    for name in _steps(Ends()):
        ends = Ends()
        ends.client.phase = ends.daemon.phase = phase
        try:
            _steps(ends)[name]()
        except LocalProtocolError:
            assert name not in allowed
            assert phases(ends) == (phase, phase)
        else:
            assert name in allowed
