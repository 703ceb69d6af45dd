"""Everything that libguestfs 1.48.6 and its daemon were recorded saying is understood, and said again to the byte."""

from typing import Any, Final

import pytest

from rpc import constants, framing
from rpc.connection import Connection, Phase, Role
from rpc.errno_names import errno_number
from rpc.errors import RemoteProtocolError
from rpc.events import NEED_DATA, CancelWord, Chunk, EventOrNeed, Header, Launch, Message, Progress
from rpc.procedure import Procedure, Transfer
from rpc.procedures import BY_NUMBER
from rpc.xdr import Reader
from tests.rpc.captured import CAPTURES, Frame

_HEADER_REFUSED: Final = {"090-bad_program.hex", "091-bad_version_stale.hex"}
_UNKNOWN_PROCEDURE: Final = {"092-unknown_proc.hex"}
_ARGUMENTS_REFUSED: Final = {"095-args_truncated.hex"}
_UNKNOWN_BITS: Final = {"093-optargs_on_plain_proc.hex", "094-optargs_unknown_bit.hex"}


class Replay:
    """Two ends of a channel that say a capture again; each frame is made by one and understood by the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ends = {role: Connection(role) for role in Role}
        self.header = Header.call(0, 0)
        for end in self.ends.values():
            end.phase = Phase.IDLE

    def run(self) -> None:
        for frame in CAPTURES[self.name]:
            receiver = self.ends[Role.DAEMON if frame.sender is Role.CLIENT else Role.CLIENT]
            if frame.data == framing.LAUNCH_WORD:
                for end in self.ends.values():
                    end.phase = Phase.STARTING
            receiver.receive_data(frame.data)
            event = receiver.next_event()
            assert receiver.next_event() is NEED_DATA
            assert self.said_again(frame, event) == frame.data

    def said_again(self, frame: Frame, event: EventOrNeed) -> bytes:
        sender = self.ends[frame.sender]
        match event:
            case Launch():
                return sender.send_launch()
            case CancelWord():
                return framing.CANCEL_WORD  # some crossed with what they cancel, so the sender's phase may be another
            case Progress():
                return framing.encode_progress(event)
            case Chunk(data, cancelled):
                return sender.send_end(cancelled=cancelled) if event.is_last else sender.send_chunk(data)
            case Message(header, body):
                if frame.sender is Role.CLIENT:
                    return self.called_again(sender, header, body)
                return self.answered_again(sender, header, body)
        raise AssertionError(event)

    def called_again(self, client: Connection, header: Header, body: bytes | memoryview) -> bytes:
        if self.name in _HEADER_REFUSED | _UNKNOWN_PROCEDURE | _ARGUMENTS_REFUSED | _UNKNOWN_BITS:
            client.phase = Phase.CALLED
            client._procedure, client._serial = BY_NUMBER.get(header.proc), header.serial
            return framing.encode_message(header, [body])
        procedure = BY_NUMBER[header.proc]
        self.header = header
        client._serial = header.serial - 1
        data = client.send_call(procedure, decoded_args(procedure, header, body), header.progress_hint)
        if procedure.transfer is Transfer.FILE_IN:
            self.ends[Role.DAEMON].begin_upload()
        return data

    def answered_again(self, daemon: Connection, header: Header, body: bytes | memoryview) -> bytes:
        if header.status == constants.STATUS_ERROR:
            name, text = framing.decode_error(body)
            return daemon.send_error(header.proc, header.serial, errno_number(name), text)
        procedure = BY_NUMBER[header.proc]
        if procedure.transfer is Transfer.FILE_OUT:
            return daemon.send_reply(self.header, bytes(body), streams=True)
        return daemon.send_result(self.header, procedure, decoded(procedure.result, body))


def decoded(codec: Any, body: bytes | memoryview) -> Any:
    reader = Reader(body)
    value = codec.decode(reader)
    reader.done()
    return value


def decoded_args(procedure: Procedure[Any, Any], header: Header, body: bytes | memoryview) -> Any:
    """Return the arguments with None where a bit is clear, so that encoding them must find libguestfs's filler."""
    args = decoded(procedure.args_codec, body)
    clear = {name: None for bit, name in enumerate(procedure.optargs) if not header.optargs_bitmask >> bit & 1}
    return args._replace(**clear)


def test_captures_are_complete() -> None:
    assert len(CAPTURES) == 107
    assert sum(map(len, CAPTURES.values())) > 280


# Their answers name another call than the one sent (section 3.6), which our client refuses.
_STALE: Final = {"090-bad_program.hex", "091-bad_version_stale.hex", "092-unknown_proc.hex"}


@pytest.mark.parametrize("name", sorted(set(CAPTURES) - _STALE))
def test_capture_is_said_again_to_the_byte(name: str) -> None:
    Replay(name).run()


@pytest.mark.parametrize("name", sorted(_STALE))
def test_answer_to_a_bad_header_is_decoded_and_encoded(name: str) -> None:
    call, reply = CAPTURES[name]
    daemon = Connection(Role.DAEMON)
    daemon.send_launch()
    daemon.receive_data(call.data)
    event = daemon.next_event()
    assert isinstance(event, Message)
    assert framing.encode_message(event.header, [event.body]) == call.data
    answer = framing.decode_message(memoryview(reply.data)[4:])
    assert answer.header.status == constants.STATUS_ERROR
    errno_name, text = framing.decode_error(answer.body)
    assert daemon.send_error(answer.header.proc, answer.header.serial, errno_number(errno_name), text) == reply.data


@pytest.mark.parametrize("name", sorted(_STALE - _UNKNOWN_PROCEDURE))
def test_stale_answer_is_refused_by_the_client(name: str) -> None:
    client = Connection(Role.CLIENT)
    client.receive_data(framing.LAUNCH_WORD)
    client.next_event()
    client.send_call(BY_NUMBER[92], BY_NUMBER[92].args())
    client.receive_data(CAPTURES[name][1].data)
    with pytest.raises(RemoteProtocolError, match="wrong header"):
        client.next_event()


def test_truncated_arguments_are_refused() -> None:
    (name,) = _ARGUMENTS_REFUSED
    call = framing.decode_message(memoryview(CAPTURES[name][0].data)[4:])
    with pytest.raises(RemoteProtocolError):
        BY_NUMBER[call.header.proc].args_codec.decode(Reader(call.body))


@pytest.mark.parametrize("name", sorted(_UNKNOWN_BITS))
def test_unknown_optional_argument_shows_in_the_bitmask(name: str) -> None:
    header = framing.decode_message(memoryview(CAPTURES[name][0].data)[4:]).header
    assert header.optargs_bitmask >> len(BY_NUMBER[header.proc].optargs)


def test_results_carry_what_the_readme_says() -> None:
    def result(name: str) -> Any:
        message = framing.decode_message(memoryview(CAPTURES[name][-1].data)[4:])
        return decoded(BY_NUMBER[message.header.proc].result, message.body)

    assert result("003-list_devices.hex")[0] == "/dev/sda"
    assert result("006-vfs_type.hex") == "ext4"
    assert result("009-umask.hex") == 0o22
    assert result("010-exists.hex") is True
    assert result("021-pread.hex") == b"guest"
    assert result("022-pread_eof.hex") == b""
    assert [stat.st_ino == -1 for stat in result("015-internal_lstatnslist.hex")] == [False, True]
    assert [pair.attrval for pair in result("016-internal_lxattrlist.hex")] == [b"1\0", b"blue", b"0\0", b""]
    assert {entry.ftyp for entry in result("014-readdir.hex")} <= set("bcdflrsu?")
    assert result("072-lvs_full.hex")[0].copy_percent == -1.0
    assert any(name.startswith("btrfsvol:") for name, _ in result("066-list_filesystems.hex"))


def test_chunks_of_an_upload_are_its_file() -> None:
    upload = CAPTURES["046-upload.hex"]
    chunks = [framing.decode_chunk(memoryview(frame.data)[4:], constants.CHUNK_MAX_BYTES) for frame in upload[1:4]]
    assert b"".join(chunk.data for chunk in chunks) == bytes(index % 251 for index in range(8200))
