"""The same with both appliances, at the same time: each uses a processor of its own."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.interoperability.appliances import OURS, THEIRS
from tests.interoperability.stage import Stage

T = TypeVar("T")


def side_by_side(stages: Mapping[str, Stage], play: Callable[[Stage], T]) -> tuple[T, T]:
    """Return what playing gave with our appliance, and with libguestfs's."""
    with ThreadPoolExecutor() as pool:
        ours, theirs = pool.map(play, (stages[OURS], stages[THEIRS]))
    return ours, theirs
