"""A message of exactly the protocol's maximum passes; the sender refuses one byte more and says why."""

import pytest

from rpc import constants, framing
from rpc.arguments import MountableArgs, PathArgs
from rpc.codec import GuestPath, Mountable
from rpc.errors import LocalProtocolError
from rpc.events import Header, Message
from rpc.procedures import INTERNAL_WRITE, LSTATNS, PREAD, VFS_TYPE
from rpc.procedures.contents import InternalWriteArgs, PreadArgs
from rpc.xdr import Reader
from tests.rpc.ends import Ends

PATH = GuestPath(b"/f")
CONTENT_MAX_BYTES = constants.MESSAGE_MAX_BYTES - constants.HEADER_BYTES - 8 - 4
"""Longest content of a write to a path of up to four bytes."""
TOO_LONG = "a message of 4194308 bytes is longer than the protocol allows, 4194304 bytes"


def test_longest_call_passes_and_one_byte_more_is_refused_by_the_client() -> None:
    ends = Ends()
    with pytest.raises(LocalProtocolError, match=TOO_LONG):
        ends.client.send_call(INTERNAL_WRITE, InternalWriteArgs(PATH, bytes(CONTENT_MAX_BYTES + 1)))
    data = ends.client.send_call(INTERNAL_WRITE, InternalWriteArgs(PATH, b"x" * CONTENT_MAX_BYTES))
    assert len(data) == constants.WORD_BYTES + constants.MESSAGE_MAX_BYTES
    (call,) = ends.to_daemon(data)
    assert isinstance(call, Message)
    args = INTERNAL_WRITE.args_codec.decode(Reader(call.body))
    assert args == InternalWriteArgs(PATH, b"x" * CONTENT_MAX_BYTES)
    ends.to_client(ends.daemon.send_result(call.header, INTERNAL_WRITE, None))


def test_longest_reply_passes_and_one_byte_more_is_refused_by_the_daemon() -> None:
    ends = Ends()
    header = ends.called(PREAD, PreadArgs(PATH, constants.PREAD_MAX_BYTES, 0))
    with pytest.raises(LocalProtocolError, match=TOO_LONG):
        ends.daemon.send_result(header, PREAD, bytes(constants.PREAD_MAX_BYTES + 1))
    data = ends.daemon.send_result(header, PREAD, b"x" * constants.PREAD_MAX_BYTES)
    assert len(data) == constants.WORD_BYTES + constants.MESSAGE_MAX_BYTES
    (reply,) = ends.to_client(data)
    assert isinstance(reply, Message)
    assert PREAD.result.decode(Reader(reply.body)) == b"x" * constants.PREAD_MAX_BYTES
    ends.called(LSTATNS, PathArgs(PATH))


def test_refused_result_leaves_room_for_an_error_reply() -> None:
    ends = Ends()
    header = ends.called(VFS_TYPE, MountableArgs(Mountable("/dev/sda")))
    with pytest.raises(LocalProtocolError):
        ends.daemon.send_result(header, VFS_TYPE, "x" * constants.MESSAGE_MAX_BYTES)
    (reply,) = ends.to_client(ends.daemon.send_error(header.proc, header.serial, 0, "too long"))
    assert isinstance(reply, Message)
    assert framing.decode_error(reply.body) == ("", "too long")


def test_longest_error_text_passes_and_a_longer_one_is_cut() -> None:
    ends = Ends()
    for length in (constants.ERROR_MESSAGE_MAX_BYTES, constants.ERROR_MESSAGE_MAX_BYTES + 1):
        header = ends.called(LSTATNS, PathArgs(PATH))
        (reply,) = ends.to_client(ends.daemon.send_error(header.proc, header.serial, 2, "x" * length))
        assert isinstance(reply, Message)
        assert framing.decode_error(reply.body) == ("ENOENT", "x" * constants.ERROR_MESSAGE_MAX_BYTES)


def test_frame_of_the_maximum_is_built_and_one_byte_more_is_not() -> None:
    header = Header.call(92, 1)
    length = constants.MESSAGE_MAX_BYTES - constants.HEADER_BYTES
    assert len(framing.encode_message(header, [bytes(length)])) == constants.WORD_BYTES + constants.MESSAGE_MAX_BYTES
    with pytest.raises(LocalProtocolError, match="4194305 bytes"):
        framing.encode_message(header, [bytes(length + 1)])
