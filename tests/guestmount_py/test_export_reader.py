"""The NBD client against qemu-nbd, and against servers that lie."""

import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from guestmount_py.export_reader import ExportReader, open_export
from rpc.errors import ConnectionLost, DriveError, GuestmountError, RemoteProtocolError
from tests.guestmount_py.images import MIB

GREETING: Final = b"NBDMAGICIHAVEOPT\0\3"
REPLY_MAGIC: Final = 0x3E889045565A9


@contextmanager
def qemu_nbd(node: Mapping[str, object]) -> Iterator[Path]:
    """Have qemu-nbd export a node as "disk", and return its socket."""
    with tempfile.TemporaryDirectory() as directory:
        path, ready = Path(directory) / "socket", Path(directory) / "pid"
        argv = ["qemu-nbd", "--read-only", "--persistent", "--shared=8", "--fork", f"--socket={path}"]
        argv += [f"--pid-file={ready}", "--export-name=disk", f"json:{json.dumps(node)}"]
        subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
        pid = int(ready.read_text())
        try:
            yield path
        finally:
            os.kill(pid, signal.SIGTERM)


@asynccontextmanager
async def opened(path: Path, size_bytes: int, name: str = "disk") -> AsyncIterator[ExportReader]:
    async with trio.open_nursery() as nursery:
        reader = await open_export(await trio.open_unix_socket(path), name, size_bytes, nursery)
        yield reader
        reader.close()


def raw_node(path: Path) -> dict[str, object]:
    return {"driver": "raw", "file": {"driver": "file", "filename": str(path)}}


async def test_reads_side_by_side_get_their_own_bytes(tmp_path: Path) -> None:
    content = os.urandom(9 * MIB)
    (tmp_path / "disk").write_bytes(content)
    with qemu_nbd(raw_node(tmp_path / "disk")) as path:
        async with opened(path, 9 * MIB) as reader, trio.open_nursery() as nursery:

            async def check(offset: int, count: int) -> None:
                assert await reader.read(offset, count) == content[offset : offset + count]

            for number in range(40):  # more than a server of qemu's takes at a time
                nursery.start_soon(check, number * 200_001, 100_000 + number)
            nursery.start_soon(check, 0, 9 * MIB)
            nursery.start_soon(check, 9 * MIB, 0)


async def test_error_of_the_disk_is_one_and_the_next_read_goes_on(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"x" * MIB)
    faults = [{"event": "read_aio", "errno": 5, "sector": 8}]
    image = {"driver": "file", "filename": str(tmp_path / "disk")}
    node = {"driver": "raw", "file": {"driver": "blkdebug", "image": image, "inject-error": faults}}
    with qemu_nbd(node) as path:
        async with opened(path, MIB) as reader:
            with pytest.raises(DriveError, match="cannot read the image: EIO"):
                await reader.read(4096, 512)
            assert await reader.read(8192, 512) == b"x" * 512


async def test_unknown_export_and_other_size_are_errors(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(MIB))
    with qemu_nbd(raw_node(tmp_path / "disk")) as path:
        assert "is refused" in await failure_to_open(path, MIB, "other")
        assert "1048576 bytes instead of 2097152" in await failure_to_open(path, 2 * MIB)


async def failure_to_open(path: Path, size_bytes: int, name: str = "disk") -> str:
    async with trio.open_nursery() as nursery:
        stream = await trio.open_unix_socket(path)
        with pytest.raises(DriveError) as caught:
            await open_export(stream, name, size_bytes, nursery)
        assert stream.socket.fileno() == -1
    return str(caught.value)


# Servers that are none, or lie


def option_reply(kind: int, data: bytes = b"", *, magic: int = REPLY_MAGIC, option: int = 7) -> bytes:
    return struct.pack(">QIII", magic, option, kind, len(data)) + data


EXPORT: Final = option_reply(3, struct.pack(">HQH", 0, MIB, 3))
HANDSHAKE: Final = GREETING + option_reply(3, struct.pack(">HIII", 3, 1, 4096, MIB)) + EXPORT + option_reply(1)


@asynccontextmanager
async def scripted(said: bytes) -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Our end of a connection, and that of a server that has said all it will say by itself."""
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    async with ours, theirs:
        await theirs.send_all(said)
        yield ours, theirs


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian", RemoteProtocolError),
        (GREETING[:17] + b"\0", RemoteProtocolError),
        (GREETING[:10], ConnectionLost),
        (GREETING, ConnectionLost),
        (GREETING + option_reply(1), RemoteProtocolError),
        (GREETING + option_reply(3, bytes(2)), RemoteProtocolError),
        (GREETING + option_reply(3, struct.pack(">HQH", 0, MIB, 3) + b"x"), RemoteProtocolError),
        (GREETING + option_reply(1, magic=1), RemoteProtocolError),
        (GREETING + option_reply(1, option=6), RemoteProtocolError),
        (GREETING + struct.pack(">QIII", REPLY_MAGIC, 7, 3, 1 << 31), RemoteProtocolError),
        (GREETING + option_reply(1 << 31 | 6, b"no such export"), DriveError),
        (GREETING + option_reply(1 << 31 | 6, b"\xff\xfe"), DriveError),
        (GREETING + EXPORT, ConnectionLost),
    ],
)
async def test_server_that_speaks_otherwise_is_refused(said: bytes, error: type[GuestmountError]) -> None:
    async with scripted(said) as (ours, theirs), trio.open_nursery() as nursery:
        await theirs.send_eof()
        with pytest.raises(error):
            await open_export(ours, "disk", MIB, nursery)


async def test_handshake_may_tell_more_than_was_asked() -> None:
    async with scripted(HANDSHAKE) as (ours, _), trio.open_nursery() as nursery:
        reader = await open_export(ours, "disk", MIB, nursery)
        assert reader.size_bytes == MIB
        reader.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (struct.pack(">IIQ", 0x67446698, 0, 2) + bytes(512), RemoteProtocolError),  # another's cookie
        (struct.pack(">IIQ", 0x668E33EF, 0, 1) + bytes(512), RemoteProtocolError),  # a structured reply
        (struct.pack(">IIQ", 0x67446698, 5, 1), DriveError),
        (struct.pack(">IIQ", 0x67446698, 4_000_000_000, 1), DriveError),
        (struct.pack(">IIQ", 0x67446698, 0, 1) + bytes(511), ConnectionLost),
        (b"\0" * 10, ConnectionLost),
        (b"", ConnectionLost),
    ],
)
async def test_reply_that_is_none_is_an_error_and_never_bytes(reply: bytes, error: type[GuestmountError]) -> None:
    async with scripted(HANDSHAKE) as (ours, theirs), trio.open_nursery() as nursery:

        async def answer() -> None:
            asked = b""
            while not asked.endswith(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 4096, 512)):
                asked += await theirs.receive_some()
            await theirs.send_all(reply)
            await theirs.send_eof()

        nursery.start_soon(answer)
        reader = await open_export(ours, "disk", MIB, nursery)
        with pytest.raises(error):
            await reader.read(4096, 512)
        reader.close()


async def test_reply_that_nobody_asked_for_ends_the_connection() -> None:
    async with scripted(HANDSHAKE + struct.pack(">IIQ", 0x67446698, 0, 1)) as (ours, _), trio.open_nursery() as nursery:
        reader = await open_export(ours, "disk", MIB, nursery)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RemoteProtocolError, match="no reply to a read"):
            await reader.read(0, 512)
