"""Go on in a machine that was restored from a template: same memory, other time, other secrets, other disks."""

import fcntl
import os
import socket
import struct
import time
from contextlib import suppress
from typing import Final

from daemon.devices import disks, labelled_disks, letters
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.procedures.extensions import ResumeArgs

_RNDADDENTROPY: Final = 0x40085203
_RNDRESEEDCRNG: Final = 0x5207
_ENTROPY_MIN_BYTES: Final = 32
_KOBJECT_UEVENT: Final = 15
_KERNEL_GROUP: Final = 1
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 8 << 20
"""Room for what the kernel says of 255 disks and their partitions."""
_WAIT_S: Final = 50.0
_LISTENERS: Final[list[socket.socket]] = []


def listen() -> None:
    """Keep what the kernel says of disks from now on, also while the machine is saved; for this process alone."""
    _LISTENERS.append(_uevents())
    os.register_at_fork(after_in_child=stop_listening)


def stop_listening() -> None:
    """Drop what is left of it."""
    while _LISTENERS:
        _LISTENERS.pop().close()


def _uevents() -> socket.socket:
    """Return a socket on which the kernel tells of devices (Linux: lib/kobject_uevent.c)."""
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _KOBJECT_UEVENT)
    listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    listener.bind((0, _KERNEL_GROUP))
    return listener


@handles(procedures.RESUME)
def resume(_session: Session, args: ResumeArgs) -> list[str]:
    """Set the clock, make random numbers unlike those of other copies, wait for the disks and name them."""
    if len(args.entropy) < _ENTROPY_MIN_BYTES:
        raise CallError(f"{len(args.entropy)} bytes of entropy are too few")
    _reseed(args.entropy)
    time.clock_settime_ns(time.CLOCK_REALTIME, args.clock_ns)
    await_disks(args.serials)
    stop_listening()
    return [f"/dev/sd{letters(index)}" for index in range(len(disks()))]


def _reseed(entropy: bytes) -> None:
    """Mix secret data into the kernel's pool and begin all its generators anew (random(4))."""
    with open("/dev/urandom", "wb", buffering=0) as pool:
        fcntl.ioctl(pool, _RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(pool, _RNDRESEEDCRNG)


def await_disks(serials: list[str]) -> None:
    """Wait until the kernel has announced a disk with each serial number; it does so after it has read its partitions.

    Raises:
        CallError: one does not come.
    """
    wanted = set(serials)
    listener = _LISTENERS[0] if _LISTENERS else None
    announced = set(disks()) if listener is None else set()
    end_s = time.monotonic() + _WAIT_S
    while len(announced) < len(wanted) or not wanted <= _serials(announced):
        left_s = end_s - time.monotonic()
        if listener is None or left_s <= 0:
            raise CallError(f"no disk has the serial number {min(wanted - _serials(announced))}")
        listener.settimeout(left_s)
        with suppress(TimeoutError):
            announced.update(_new_disk(listener.recv(65536)))


def _serials(announced: set[str]) -> set[str]:
    return {serial for serial, name in labelled_disks().items() if name in announced}


def _new_disk(event: bytes) -> list[str]:
    """Return the name of the disk that an event announces."""
    words = event.split(b"\0")
    if not words[0].startswith(b"add@") or b"SUBSYSTEM=block" not in words or b"DEVTYPE=disk" not in words:
        return []
    return [os.fsdecode(words[0].rpartition(b"/")[2])]
