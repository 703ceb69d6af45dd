import itertools

import pytest

from appliance.state import TRANSITIONS, Event, State, StateMachine
from rpc.errors import StateError

_PATHS_TO: dict[State, list[Event]] = {
    State.CONFIG: [],
    State.LAUNCHING: [Event.START],
    State.READY: [Event.START, Event.LAUNCH_WORD],
}


def _machine_in(state: State) -> StateMachine:
    machine = StateMachine()
    for event in _PATHS_TO[state]:
        machine.fire(event)
    assert machine.state is state
    return machine


def test_launch_and_exit_return_to_config() -> None:
    machine = _machine_in(State.READY)
    machine.fire(Event.EXIT)
    assert machine.history == [State.CONFIG, State.LAUNCHING, State.READY, State.CONFIG]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_moves_as_the_table_says_or_is_refused(state: State, event: Event) -> None:
    machine = _machine_in(state)
    if (state, event) in TRANSITIONS:
        machine.fire(event)
        assert machine.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(StateError, match=f"{event.name} is not possible in state {state.name}"):
            machine.fire(event)
        assert machine.state is state


def test_every_change_is_told() -> None:
    told: list[State] = []
    machine = StateMachine(told.append)
    for event in (Event.START, Event.LAUNCH_WORD, Event.EXIT):
        machine.fire(event)
    with pytest.raises(StateError):
        machine.fire(Event.EXIT)
    assert told == [State.LAUNCHING, State.READY, State.CONFIG]
