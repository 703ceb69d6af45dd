"""What arrives on a channel: the events of a connection."""

from typing import Final, NamedTuple, TypeAlias

from rpc import constants


class Header(NamedTuple):
    """The 40 bytes in front of every message (guestfs-protocol section 2.2).

    Layout: ``u32 prog | u32 vers | i32 proc | i32 direction | u32 serial | u64 progress_hint | u64 optargs_bitmask |
    i32 status``.
    """

    prog: int
    vers: int
    proc: int
    direction: int
    serial: int
    progress_hint: int
    optargs_bitmask: int
    status: int

    @classmethod
    def call(cls, proc: int, serial: int, progress_hint_bytes: int = 0, optargs_bitmask: int = 0) -> "Header":
        """Return the header of a call."""
        return cls(
            constants.PROGRAM,
            constants.VERSION,
            proc,
            constants.DIRECTION_CALL,
            serial,
            progress_hint_bytes,
            optargs_bitmask,
            constants.STATUS_OK,
        )

    @classmethod
    def reply(cls, proc: int, serial: int, status: int) -> "Header":
        """Return the header of a reply."""
        return cls(constants.PROGRAM, constants.VERSION, proc, constants.DIRECTION_REPLY, serial, 0, 0, status)


class Launch:
    """The daemon is ready."""


class CancelWord:
    """The peer wants the transfer under way to stop."""


class Progress(NamedTuple):
    """How far a long call is; 0 of 1 repeatedly means "alive, end unknown"."""

    proc: int
    serial: int
    position: int
    total: int


class Message(NamedTuple):
    """A call or a reply: the header and the body behind it, not yet decoded."""

    header: Header
    body: bytes | memoryview


class Chunk(NamedTuple):
    """A piece of a file; no data means the end, ``cancelled`` that the sender gave up."""

    data: bytes
    cancelled: bool = False

    @property
    def is_last(self) -> bool:
        """Tell whether the transfer ends here."""
        return self.cancelled or not self.data


class NeedData:
    """Type of NEED_DATA."""


NEED_DATA: Final = NeedData()
"""Returned instead of an event when more bytes must be received first."""

Event: TypeAlias = Launch | CancelWord | Progress | Message | Chunk
EventOrNeed: TypeAlias = Event | NeedData
