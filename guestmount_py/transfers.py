"""What a file transfer is on our side: where a download goes, where an upload comes from."""

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Final, TypeAlias

import trio

from rpc.errors import GuestmountError

LocalPath: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = LocalPath | AsyncIterable[bytes] | Iterable[bytes]
"""A local file, or pieces of any size."""
_PIECE_BYTES: Final = 1 << 20
READ_MAX_BYTES: Final = 1 << 30
"""What is kept in memory unless asked otherwise, whatever the appliance sends."""


class Download:
    """A transfer from the guest that begins when it is taken, in one of three ways.

    As a context manager it yields the pieces as they come, and to leave early is to cancel the transfer. What the call
    raises is raised there, while the pieces come, or by ``read`` and ``save``.
    """

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]) -> None:
        self._begin = begin
        self._transfer: AbstractAsyncContextManager[AsyncIterator[bytes]] | None = None

    async def __aenter__(self) -> AsyncIterator[bytes]:
        self._transfer = self._begin()
        return await self._transfer.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._transfer is not None
        return await self._transfer.__aexit__(kind, error, traceback)

    async def read(self, max_bytes: int = READ_MAX_BYTES) -> bytes:
        """Return all of it.

        Raises:
            GuestmountError: it is longer than ``max_bytes``; the transfer was cancelled.
        """
        data = bytearray()
        async with self as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > max_bytes:
                    raise GuestmountError(f"more than {max_bytes} bytes: give a higher max_bytes, or use save")
        return bytes(data)

    async def save(self, target: LocalPath) -> int:
        """Write it to a local file, which is made or emptied first; return the number of bytes.

        What has come stays in the file if the transfer fails or is cancelled.
        """
        size_bytes = 0
        async with self as pieces, await trio.open_file(target, "wb", buffering=0) as file:
            async for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[await file.write(rest) :]
                size_bytes += len(piece)
        return size_bytes


@asynccontextmanager
async def opened(source: Source) -> AsyncIterator[tuple[AsyncIterator[bytes], int]]:
    """Yield a source's pieces and its size in bytes, 0 if that is not known; a generator is closed at the end.

    Raises:
        TypeError: it is no source.
        OSError: it is a file that cannot be opened.
    """
    async with AsyncExitStack() as stack:
        size_bytes = 0
        if isinstance(source, str | os.PathLike):
            file = await stack.enter_async_context(await trio.open_file(source, "rb", buffering=0))
            size_bytes = os.fstat(file.wrapped.fileno()).st_size
            pieces = _pieces(file.read)
        elif isinstance(source, AsyncIterable):
            pieces = aiter(source)
        elif isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | memoryview):
            pieces = _each(source)
        else:
            raise TypeError(f"a {type(source).__name__} is neither a path nor an iterator of bytes")
        if isinstance(pieces, AsyncGenerator):
            stack.push_async_callback(pieces.aclose)
        yield pieces, size_bytes


async def _pieces(read: Callable[[int], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    while piece := await read(_PIECE_BYTES):
        yield piece


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await trio.lowlevel.checkpoint()
