"""A channel's bytes, as a virtio-serial port carries them best (Linux drivers/char/virtio_console.c).

write(2) on a port takes 32 KiB at a time; splice(2) from a pipe takes all that is in it and moves the pages instead of
copying them. So what is long goes through a pipe, and a file's pages get there by splice(2) too, never touching this
process. The port is in non-blocking mode, for in blocking mode a writer spins until the host has taken the data.
"""

import os
import select
import struct
from errno import EINVAL
from fcntl import F_SETPIPE_SZ, fcntl
from typing import Final

_RECEIVE_BYTES: Final = 64 * 1024
WRITE_MAX_BYTES: Final = 32 * 1024
"""What a port takes in one write."""
_PIPE_BYTES: Final = 1 << 20
_CHUNK_HEAD: Final = struct.Struct(">IiI")
"""Length word, cancel, data length (guestfs-protocol section 2.4)."""


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel:
    """One end of a byte stream; every method waits until it is done.

    Args:
        descriptor: of a port, a socket or the like; it is put into non-blocking mode.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._readable = select.poll()
        self._readable.register(descriptor, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._held = b""
        self._splices = True
        self._pipe_read, self._pipe_write = os.pipe2(os.O_CLOEXEC)
        self._pipe_bytes = fcntl(self._pipe_write, F_SETPIPE_SZ, _PIPE_BYTES)

    def greet(self, data: bytes) -> None:
        """Send the first words as soon as somebody listens.

        Nobody is connected to a port of an appliance that is being made a template of: its driver lets a blocking
        write(2) wait for that, while every other call says "hung up".
        """
        os.set_blocking(self._descriptor, True)
        self._write(data)
        os.set_blocking(self._descriptor, False)

    def receive(self) -> bytes:
        """Wait for data.

        Raises:
            ChannelClosed: there will be no more; a port reads empty while nothing is connected to its other end.
        """
        self._readable.poll()
        try:
            data = os.read(self._descriptor, _RECEIVE_BYTES)
        except OSError as exc:
            raise ChannelClosed from exc
        if not data:
            raise ChannelClosed
        return data

    def is_readable(self) -> bool:
        """Tell, without waiting, whether ``receive`` would not wait."""
        return bool(self._readable.poll(0))

    def hold(self, data: bytes) -> None:
        """Send with what is sent next: one step for a short reply, its file and the end of it."""
        if len(self._held) + len(data) <= WRITE_MAX_BYTES:
            self._held += data
        else:
            self.send(data)

    def send(self, data: bytes) -> None:
        """Send all, after what was held back."""
        if self._held:
            held, self._held = self._held, b""
            if len(held) + len(data) <= WRITE_MAX_BYTES:
                data = held + data
            else:
                self._write(held)
        if len(data) <= WRITE_MAX_BYTES or not self._splices:
            self._write(data)
            return
        view = memoryview(data)
        while view:
            written = os.write(self._pipe_write, view[: self._pipe_bytes])
            self._forward(written)
            view = view[written:]

    def send_chunk_of_file(self, file: int, offset: int, max_bytes: int) -> int:
        """Send a part of a file as one chunk; return its length in bytes, 0 at the end of the file.

        The chunk's head goes out when the pages are in the pipe: an error of the file is known before. It raises
        OSError, EINVAL from a filesystem that cannot splice; nothing was sent then.
        """
        size_bytes = os.splice(file, self._pipe_write, min(max_bytes, self._pipe_bytes), offset_src=offset)
        if size_bytes:
            padding = -size_bytes & 3
            self.send(_CHUNK_HEAD.pack(8 + size_bytes + padding, 0, size_bytes))
            self._forward(size_bytes)
            if padding:
                self._held = bytes(padding)
        return size_bytes

    def _forward(self, size_bytes: int) -> None:
        """Send what is in the pipe."""
        while size_bytes:
            if self._splices:
                try:
                    size_bytes -= os.splice(self._pipe_read, self._descriptor, size_bytes)
                except BlockingIOError:
                    self._writable.poll()
                except OSError as exc:
                    if exc.errno != EINVAL:
                        raise ChannelClosed from exc
                    self._splices = False
            else:
                data = os.read(self._pipe_read, min(size_bytes, WRITE_MAX_BYTES))
                self._write(data)
                size_bytes -= len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                self._writable.poll()
            except OSError as exc:
                raise ChannelClosed from exc
