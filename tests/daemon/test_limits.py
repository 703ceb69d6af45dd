"""Messages of exactly the protocol's maximum, both ways, between the real client and the real daemon."""

import errno
from pathlib import Path

import pytest
import trio

from rpc import constants
from rpc.arguments import NoArgs, PathArgs
from rpc.client import open_channel
from rpc.codec import GuestPath
from rpc.errors import LocalProtocolError, ProcedureError
from rpc.procedures import INTERNAL_WRITE, LSTATNS, PING_DAEMON, PREAD
from rpc.procedures.contents import InternalWriteArgs, PreadArgs
from tests.daemon.guestfsd import Guestfsd

CONTENT_MAX_BYTES = constants.MESSAGE_MAX_BYTES - constants.HEADER_BYTES - 8 - 4
"""Longest content of a write to a path of up to four bytes."""
NEW = GuestPath(b"/new")


async def test_longest_call_is_carried_out_and_one_byte_more_is_not_sent(daemon: Guestfsd, guest: Path) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(daemon.channel.dup()))
    async with open_channel(stream) as channel:
        channel._connection = daemon.connection  # it has seen the launch word
        content = bytes(range(251)) * (CONTENT_MAX_BYTES // 251 + 1)
        with pytest.raises(LocalProtocolError, match="a message of 4194308 bytes is longer than the protocol allows"):
            await channel.call(INTERNAL_WRITE, InternalWriteArgs(NEW, content[: CONTENT_MAX_BYTES + 1]))
        assert not (guest / "new").exists()
        await channel.call(INTERNAL_WRITE, InternalWriteArgs(NEW, content[:CONTENT_MAX_BYTES]))
        assert (guest / "new").read_bytes() == content[:CONTENT_MAX_BYTES]
        await channel.call(PING_DAEMON, NoArgs())


def test_longest_reply_arrives_and_one_byte_more_is_an_error_without_errno(daemon: Guestfsd, guest: Path) -> None:
    content = bytes(range(251)) * (constants.PREAD_MAX_BYTES // 251 + 1)
    (guest / "new").write_bytes(content)
    longest = constants.PREAD_MAX_BYTES
    assert daemon.call(PREAD, PreadArgs(NEW, longest, 0)) == content[:longest]
    with pytest.raises(ProcedureError, match="longer than the protocol allows") as caught:
        daemon.call(PREAD, PreadArgs(NEW, longest + 1, 0))
    assert caught.value.errno_name == ""
    assert daemon.call(PREAD, PreadArgs(NEW, longest, 1)) == content[1 : longest + 1]


def test_longest_path_is_the_kernels_to_refuse(daemon: Guestfsd) -> None:
    path = b"/".ljust(constants.MESSAGE_MAX_BYTES - constants.HEADER_BYTES - 4, b"x")
    with pytest.raises(ProcedureError) as caught:
        daemon.call(LSTATNS, PathArgs(GuestPath(path)))
    assert caught.value.errno == errno.ENAMETOOLONG
    assert len(str(caught.value)) < 2 * constants.ERROR_MESSAGE_MAX_BYTES
    assert daemon.call(PING_DAEMON, NoArgs()) is None
