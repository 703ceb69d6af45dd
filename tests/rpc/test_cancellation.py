"""Every way in which the units of a cancelled transfer can cross, step by step, without a socket.

Two ends that behave as section 3 of guestfs-protocol tells; after each step any end may be next, any unit may arrive,
and either end may give up. All orders are tried; each must end with a second call that is answered.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from rpc import constants
from rpc.arguments import NoArgs
from rpc.codec import DeviceOrPath
from rpc.connection import Connection, Phase, Role
from rpc.events import NEED_DATA, CancelWord, Chunk, Header, Message
from rpc.procedures import DOWNLOAD, PING_DAEMON, UPLOAD
from rpc.procedures.transfers import RemoteFileArgs

FILE: Final = RemoteFileArgs(DeviceOrPath(b"/file"))
PIECES: Final = (b"one", b"two")


class Conversation:
    """Two launched ends, the units under way between them, and what each may do next."""

    def __init__(self) -> None:
        self.client = Connection(Role.CLIENT)
        self.daemon = Connection(Role.DAEMON)
        self.to_client = [self.daemon.send_launch()]
        self.to_daemon: list[bytes] = []
        self.call = Header.call(0, 0)
        self.received: list[bytes] = []
        self.sent = 0
        self.cancelling = False
        self.refused = False
        self.outcome = ""
        self.answered = False

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what can happen next; nothing when the second call has its answer."""
        found: dict[str, Callable[[], None]] = {}
        if self.to_client:
            found["client receives"] = self.client_receives
        if self.to_daemon and self.daemon.phase is not Phase.DOWNLOADING:
            found["daemon receives"] = self.daemon_receives
        return found

    def client_receives(self) -> None:
        raise NotImplementedError

    def daemon_receives(self) -> None:
        raise NotImplementedError

    def ping(self) -> None:
        self.to_daemon.append(self.client.send_call(PING_DAEMON, NoArgs()))

    def event_at_client(self) -> object:
        self.client.receive_data(self.to_client.pop(0))
        event = self.client.next_event()
        assert self.client.next_event() is NEED_DATA
        if isinstance(event, Message) and event.header.proc == PING_DAEMON.number:
            self.answered = True
        return event

    def event_at_daemon(self) -> object:
        self.daemon.receive_data(self.to_daemon.pop(0))
        event = self.daemon.next_event()
        assert self.daemon.next_event() is NEED_DATA
        if isinstance(event, Message):
            self.call = event.header
            if event.header.proc == PING_DAEMON.number:
                self.to_client.append(self.daemon.send_result(event.header, PING_DAEMON, None))
        return event


class Download(Conversation):
    """A FileOut call."""

    def steps(self) -> dict[str, Callable[[], None]]:
        found = super().steps()
        if self.client.phase is Phase.DOWNLOADING and not self.cancelling:
            found["client cancels"] = self.client_cancels
        if self.daemon.phase is Phase.DOWNLOADING:
            found["daemon sends"] = self.daemon_sends
            if not self.to_daemon:
                found["daemon gives up"] = self.daemon_gives_up
        return found

    def client_receives(self) -> None:
        event = self.event_at_client()
        if isinstance(event, Chunk) and event.is_last:
            self.outcome = "cancelled" if event.cancelled else "complete"
            self.ping()
        elif isinstance(event, Chunk):
            self.received.append(event.data)
        elif self.client.phase is Phase.IDLE and not self.answered:
            self.to_daemon.append(self.client.send_call(DOWNLOAD, FILE))

    def client_cancels(self) -> None:
        self.cancelling = True
        self.to_daemon.append(self.client.send_cancel_word())

    def daemon_receives(self) -> None:
        event = self.event_at_daemon()
        if isinstance(event, Message) and event.header.proc == DOWNLOAD.number:
            self.to_client.append(self.daemon.send_reply(event.header, b"", streams=True))

    def daemon_sends(self) -> None:
        while self.to_daemon:  # it looks for a cancel word before each chunk
            if isinstance(self.event_at_daemon(), CancelWord):
                self.to_client.append(self.daemon.send_end(cancelled=True))
                return
        if self.sent < len(PIECES):
            self.to_client.append(self.daemon.send_chunk(PIECES[self.sent]))
            self.sent += 1
        else:
            self.to_client.append(self.daemon.send_end())

    def daemon_gives_up(self) -> None:
        self.refused = True
        self.to_client.append(self.daemon.send_end(cancelled=True))


class Upload(Conversation):
    """A FileIn call."""

    def steps(self) -> dict[str, Callable[[], None]]:
        found = super().steps()
        if self.client.phase is Phase.UPLOADING:
            found["client sends"] = self.client_sends
            found["client cancels"] = self.client_cancels
        if self.daemon.phase is Phase.UPLOADING and not self.refused:
            found["daemon gives up"] = self.daemon_gives_up
        return found

    def client_receives(self) -> None:
        event = self.event_at_client()
        if self.client.phase is Phase.UPLOADING and isinstance(event, CancelWord):
            self.to_daemon.append(self.client.send_end(cancelled=True))
        elif isinstance(event, Message) and not self.answered:
            self.outcome = "complete" if event.header.status == constants.STATUS_OK else "cancelled"
            self.ping()
        elif self.client.phase is Phase.IDLE and not self.answered and not self.outcome:
            self.to_daemon.append(self.client.send_call(UPLOAD, FILE))

    def client_sends(self) -> None:
        if self.to_client:  # it looks for a cancel word before each chunk
            self.client_receives()
        elif self.sent < len(PIECES):
            self.to_daemon.append(self.client.send_chunk(PIECES[self.sent]))
            self.sent += 1
        else:
            self.to_daemon.append(self.client.send_end())

    def client_cancels(self) -> None:
        self.cancelling = True
        self.to_daemon.append(self.client.send_end(cancelled=True))

    def daemon_receives(self) -> None:
        event = self.event_at_daemon()
        if isinstance(event, Message) and event.header.proc == UPLOAD.number:
            self.daemon.begin_upload()
        elif isinstance(event, Chunk) and not event.is_last:
            self.received.append(event.data)
        elif isinstance(event, Chunk):
            if event.cancelled or self.refused:
                self.to_client.append(self.daemon.send_error(self.call.proc, self.call.serial, 0, "given up"))
            else:
                self.to_client.append(self.daemon.send_result(self.call, UPLOAD, None))

    def daemon_gives_up(self) -> None:
        self.refused = True
        self.to_client.append(self.daemon.send_cancel_word())


def played(kind: type[Conversation], choices: list[int]) -> tuple[Conversation, list[str], list[int]]:
    """Play a conversation to its end, with these choices and then always the first; return it and all it could do."""
    conversation = kind()
    names: list[str] = []
    widths: list[int] = []
    while steps := conversation.steps():
        choice = choices[len(widths)] if len(widths) < len(choices) else 0
        name = list(steps)[choice]
        names.append(name)
        widths.append(len(steps))
        steps[name]()
    return conversation, names, widths


def all_orders(kind: type[Conversation]) -> Iterator[tuple[Conversation, list[str]]]:
    choices: list[int] = []
    while True:
        conversation, names, widths = played(kind, choices)
        yield conversation, names
        choices += [0] * (len(widths) - len(choices))
        while choices and choices[-1] + 1 == widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


# The client gave up, the daemon gave up, how it ended for the client.
OUTCOMES: Final[dict[type[Conversation], set[tuple[bool, bool, str]]]] = {
    Download: {
        (False, False, "complete"),
        (True, False, "cancelled"),
        (True, False, "complete"),  # the cancel word crossed the end chunk
        (False, True, "cancelled"),
        (True, True, "cancelled"),
    },
    Upload: {
        (False, False, "complete"),
        (True, False, "cancelled"),
        (False, True, "cancelled"),  # also if the cancel word crossed the end chunk
        (True, True, "cancelled"),
    },
}


@pytest.mark.parametrize("kind", [Download, Upload])
def test_connection_is_usable_after_every_order_of_units(kind: type[Conversation]) -> None:
    outcomes = set()
    for conversation, names in all_orders(kind):
        assert conversation.answered, names
        assert not conversation.to_client, names
        assert not conversation.to_daemon, names
        assert conversation.client.phase is conversation.daemon.phase is Phase.IDLE, names
        received = tuple(conversation.received)
        assert received == PIECES[: len(received)], names
        if conversation.outcome == "complete":
            assert received == PIECES, names
        outcomes.add((conversation.cancelling, conversation.refused, conversation.outcome))
    assert set(outcomes) == OUTCOMES[kind]
