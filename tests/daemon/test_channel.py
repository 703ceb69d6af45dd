"""Bytes sent, to what takes splice(2) and to what does not."""

import os
import socket
from pathlib import Path

import pytest

from daemon.channel import Channel, ChannelClosed
from rpc.framing import encode_chunk

LENGTHS = [0, 1, 32768, 32769, (1 << 20) + 5, (3 << 20) - 1]


@pytest.fixture(params=[0, os.O_APPEND], ids=["splices", "appends"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Stand in for a port with a file; splice(2) refuses one in append mode with EINVAL."""
    path = tmp_path / "sink"
    path.touch()
    path.chmod(0o600 if request.param else 0o644)
    return path


def opened(sink: Path) -> Channel:
    mode = os.O_APPEND if sink.stat().st_mode & 0o777 == 0o600 else 0
    return Channel(os.open(sink, os.O_RDWR | mode))


def test_everything_is_sent_once_and_in_order(sink: Path) -> None:
    channel = opened(sink)
    pieces = [os.urandom(length) for length in LENGTHS]
    for piece in pieces:
        channel.send(piece)
    for piece in pieces:
        channel.hold(piece)
    channel.send(b"end")
    assert sink.read_bytes() == b"".join(pieces) * 2 + b"end"


@pytest.mark.parametrize("offset", [0, 1, 4096, 12345])
def test_parts_of_a_file_are_sent_as_chunks(sink: Path, tmp_path: Path, offset: int) -> None:
    data = os.urandom((2 << 20) + 3)
    (tmp_path / "file").write_bytes(data)
    channel = opened(sink)
    channel.hold(b"before")
    expected = b"before"
    position = offset
    with (tmp_path / "file").open("rb") as file:
        while sent_bytes := channel.send_chunk_of_file(file.fileno(), position, 1 << 20):
            expected += encode_chunk(data[position : position + sent_bytes])
            position += sent_bytes
    channel.send(b"after")
    assert position == len(data)
    assert sink.read_bytes() == expected + b"after"


def test_file_that_cannot_be_read_is_an_error_before_anything_is_sent(sink: Path, tmp_path: Path) -> None:
    channel = opened(sink)
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="Invalid argument"):
        channel.send_chunk_of_file(directory, 0, 1 << 20)
    os.close(directory)
    channel.send(b"only")
    assert sink.read_bytes() == b"only"


@pytest.mark.parametrize("length", [1, 1 << 20])
def test_sending_to_nobody_and_receiving_the_end_is_a_closed_channel(length: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(theirs.fileno())
        ours.close()
        with pytest.raises(ChannelClosed):
            channel.receive()
        with pytest.raises(ChannelClosed):
            channel.send(bytes(length))
