"""What a handle tells those who subscribed, and the subscriptions."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar

from appliance.state import State


class ConsoleOutput(NamedTuple):
    """The appliance's console said something: kernel and daemon messages, in pieces as they come."""

    data: bytes


class LogMessage(NamedTuple):
    """Something takes long, such as building an appliance, or is not as hoped; one line."""

    text: str


class StateChanged(NamedTuple):
    """The handle is in another state."""

    state: State


class SubprocessQuit(NamedTuple):
    """Qemu ended though neither ``shutdown`` nor ``close`` asked it to.

    Attributes:
        status: its exit status, negative for a signal.
        console: the last that the appliance said, in one line.
    """

    status: int
    console: str


class CallStarted(NamedTuple):
    """A call goes to the daemon: what a trace shows; keys of encrypted disks are shown as ``***``."""

    procedure: str
    args: tuple[Any, ...]


class CallEnded(NamedTuple):
    """The call's result has come, its transfer is complete, or it failed; waiting for a channel is part of its time."""

    procedure: str
    error: BaseException | None
    seconds: float


class Progress(NamedTuple):
    """The daemon tells how far a long call is, a few times a second; 0 of 1 repeatedly: alive, end unknown."""

    procedure: str
    position: int
    total: int


Event: TypeAlias = ConsoleOutput | LogMessage | StateChanged | SubprocessQuit | CallStarted | CallEnded | Progress
EventT = TypeVar("EventT", bound=Event)


class Subscription:
    """One callback's; cancelling it twice does no harm. As a context manager it is cancelled at the end."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel: Callable[[], None] | None = cancel

    def cancel(self) -> None:
        """Call no more."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.cancel()


class Events:
    """Callbacks by kind of event.

    Callbacks run where the event happens, one after the other, and must not block. What one raises takes effect there:
    in ``CallStarted``, ``CallEnded`` or ``Progress`` it fails that call; elsewhere it ends the handle.
    """

    def __init__(self) -> None:
        self._callbacks: Final[dict[type[Any], dict[object, Callable[[Any], None]]]] = {}

    def subscribe(self, kind: type[EventT], callback: Callable[[EventT], None]) -> Subscription:
        """Call ``callback`` with every event of a kind until the subscription is cancelled."""
        callbacks = self._callbacks.setdefault(kind, {})
        key = object()
        callbacks[key] = callback
        return Subscription(lambda: callbacks.pop(key, None) and None)

    def wanted(self, kind: type[Event]) -> bool:
        """Tell whether anybody subscribed to a kind."""
        return bool(self._callbacks.get(kind))

    def emit(self, event: Event) -> None:
        """Tell everybody who subscribed."""
        for callback in tuple(self._callbacks.get(type(event), {}).values()):
            callback(event)
