"""The states of an appliance, and the only place where they change."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from rpc.errors import StateError


class State(Enum):
    """Where an appliance stands; the names are libguestfs's."""

    CONFIG = auto()
    """Not running."""
    LAUNCHING = auto()
    """The appliance is sought, built if need be, and started; the daemon's launch word is still to come."""
    READY = auto()
    """The daemon answers calls."""


class Event(Enum):
    """What moves an appliance from one state to another."""

    START = auto()
    LAUNCH_WORD = auto()
    EXIT = auto()


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.CONFIG, Event.START): State.LAUNCHING,
    (State.LAUNCHING, Event.LAUNCH_WORD): State.READY,
    (State.LAUNCHING, Event.EXIT): State.CONFIG,
    (State.READY, Event.EXIT): State.CONFIG,
}


class StateMachine:
    """Hold the state; any event that ``TRANSITIONS`` does not have is a StateError.

    Args:
        on_change: called with each new state.
    """

    def __init__(self, on_change: Callable[[State], None] = lambda _state: None) -> None:
        self._state = State.CONFIG
        self._on_change = on_change
        self.history: Final = [State.CONFIG]

    @property
    def state(self) -> State:
        """Return the present state."""
        return self._state

    def fire(self, event: Event) -> None:
        """Change the state as the event says."""
        following = TRANSITIONS.get((self._state, event))
        if following is None:
            raise StateError(f"{event.name} is not possible in state {self._state.name}")
        self._state = following
        self.history.append(following)
        self._on_change(following)
