"""Two connections wired back to back."""

from typing import Any

from rpc.connection import Connection, Role
from rpc.events import NEED_DATA, Event, Header, Message, NeedData
from rpc.procedure import Procedure


class Ends:
    """A client's and a daemon's end, launched; bytes go from one to the other in pieces of ``piece_bytes``."""

    def __init__(self, piece_bytes: int = 1 << 20) -> None:
        self.client = Connection(Role.CLIENT)
        self.daemon = Connection(Role.DAEMON)
        self._piece_bytes = piece_bytes
        self.to_client(self.daemon.send_launch())

    def to_client(self, data: bytes) -> list[Event]:
        return self._carry(self.client, data)

    def to_daemon(self, data: bytes) -> list[Event]:
        return self._carry(self.daemon, data)

    def called(self, procedure: Procedure[Any, Any], args: Any) -> Header:
        """Start a call; return its header as the daemon sees it."""
        (event,) = self.to_daemon(self.client.send_call(procedure, args))
        assert isinstance(event, Message)
        return event.header

    def _carry(self, receiver: Connection, data: bytes) -> list[Event]:
        events = []
        for start in range(0, len(data), self._piece_bytes):
            receiver.receive_data(data[start : start + self._piece_bytes])
            events += events_of(receiver)
        return events


def events_of(connection: Connection) -> list[Event]:
    events: list[Event] = []
    while (event := connection.next_event()) is not NEED_DATA:
        assert not isinstance(event, NeedData)
        events.append(event)
    return events
