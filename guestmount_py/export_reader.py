"""A drive read through the running qemu: what it exports is what the guest sees, whatever the image's format."""

from contextlib import ExitStack
from typing import ClassVar, Final

import trio

from guestmount_py import nbd
from guestmount_py.disk_reader import DiskReader
from rpc.errors import ConnectionLost, DriveError, GuestmountError, RemoteProtocolError

_REQUEST_BYTES: Final = 128 * 1024
"""What qemu answers fastest: several of these at a time take half as long as one as long as all."""
_HANDSHAKE_S: Final = 20.0


class _Request:
    """A read under way: where its bytes go, and who waits for them; one that was cancelled still gets its bytes."""

    __slots__ = ("buffer", "done", "error")

    def __init__(self, buffer: memoryview) -> None:
        self.buffer = buffer
        self.done = trio.Event()
        self.error: GuestmountError | None = None


class ExportReader(DiskReader):
    """Reads of an NBD export, several in flight on one connection.

    Made by ``open_export``, which also runs what takes the replies.
    """

    plane: ClassVar[str] = "export"

    def __init__(self, stream: trio.SocketStream, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._stream: Final = stream
        self._socket: Final = stream.socket
        self._sending = trio.Lock()
        self._requests: dict[int, _Request] = {}
        self._next_cookie = 1
        self._end: GuestmountError | None = None
        self.scope: Final = trio.CancelScope()

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer; see ``DiskReader``."""
        self._check(offset, len(buffer))
        requests = [
            await self._ask(offset + start, buffer[start : start + _REQUEST_BYTES])
            for start in range(0, len(buffer), _REQUEST_BYTES)
        ]
        for request in requests:
            await request.done.wait()
        for request in requests:
            if request.error is not None:
                raise request.error

    async def _ask(self, offset: int, buffer: memoryview) -> _Request:
        """Send the request for some bytes."""
        request = _Request(buffer)
        async with self._sending:
            if self._end is not None:
                raise _again(self._end) from self._end
            cookie = self._next_cookie
            self._next_cookie += 1
            self._requests[cookie] = request
            with trio.CancelScope(shield=True):  # half a request would spoil the next; it fits in the socket's buffer
                try:
                    await self._stream.send_all(nbd.read_request(cookie, offset, len(buffer)))
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    raise ConnectionLost("qemu's export has ended") from exc
        return request

    async def run(self) -> None:
        """Take replies until the connection ends or ``close``; then every read under way fails."""
        error: GuestmountError = ConnectionLost("qemu's export was closed")
        try:
            with self.scope:
                while True:
                    await self._take_reply()
        except GuestmountError as exc:
            error = exc
        finally:
            self._end = error
            for request in self._requests.values():
                request.error = _again(error)
                request.done.set()
            self._requests.clear()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _take_reply(self) -> None:
        head = bytearray(nbd.SIMPLE_REPLY.size)
        await self._fill(memoryview(head))
        magic, error, cookie = nbd.SIMPLE_REPLY.unpack(head)
        request = self._requests.get(cookie)
        if magic != nbd.SIMPLE_REPLY_MAGIC or request is None:
            raise RemoteProtocolError(f"no reply to a read: {bytes(head)!r}")
        if error:
            request.error = nbd.failure(error)
        else:
            await self._fill(request.buffer)
        del self._requests[cookie]
        request.done.set()

    async def _fill(self, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                count = await self._socket.recv_into(buffer[done:])
            except (OSError, trio.ClosedResourceError) as exc:
                raise ConnectionLost(f"qemu's export has ended: {exc}") from exc
            if not count:
                raise ConnectionLost("qemu's export has ended")
            done += count

    def close(self) -> None:
        """Hang up."""
        self.scope.cancel()


def _again(error: GuestmountError) -> GuestmountError:
    """Return the same error for another task: an exception keeps where it was raised."""
    return type(error)(str(error))


async def open_export(stream: trio.SocketStream, name: str, size_bytes: int, nursery: trio.Nursery) -> ExportReader:
    """Shake hands with an NBD server, and return a reader whose replies a task of the nursery takes.

    Args:
        stream: the connection, owned by the reader from now on.
        name: of the export.
        size_bytes: that it must have.
        nursery: must outlive every read.

    Raises:
        DriveError: the export is refused, or has another size.
        ConnectionLost, RemoteProtocolError: the server hung up, or is none.
    """
    with ExitStack() as undo:
        undo.callback(stream.socket.close)
        try:
            with trio.fail_after(_HANDSHAKE_S):
                export = await _shake_hands(stream, name)
        except trio.TooSlowError as exc:
            raise ConnectionLost("qemu's export does not answer") from exc
        if export.size_bytes != size_bytes:
            raise DriveError(f"{name} is exported with {export.size_bytes} bytes instead of {size_bytes}")
        undo.pop_all()
    reader = ExportReader(stream, size_bytes)
    nursery.start_soon(reader.run)
    return reader


async def _shake_hands(stream: trio.SocketStream, name: str) -> nbd.Export:
    nbd.check_greeting(await _receive(stream, nbd.GREETING_BYTES))
    try:
        await stream.send_all(nbd.go(name))
    except trio.BrokenResourceError as exc:
        raise ConnectionLost("qemu's export has ended") from exc
    export, begun = None, False
    while not begun:
        reply = nbd.option_reply(await _receive(stream, nbd.OPTION_REPLY_BYTES))
        export, begun = nbd.export_told(reply, await _receive(stream, reply.size_bytes), export)
    assert export is not None
    return export


async def _receive(stream: trio.SocketStream, count: int) -> bytes:
    """Return exactly as many bytes, however they come."""
    data = bytearray()
    while len(data) < count:
        try:
            piece = await stream.receive_some(count - len(data))
        except trio.BrokenResourceError as exc:
            raise ConnectionLost("qemu's export has ended") from exc
        if not piece:
            raise ConnectionLost("qemu's export has ended")
        data += piece
    return bytes(data)
