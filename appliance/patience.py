"""Waiting that says that it waits, and does not wait for ever."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

_SAY_EVERY_S: Final = 30.0


@asynccontextmanager
async def patience(limit_s: float, say: Callable[[], None], *, every_s: float = _SAY_EVERY_S) -> AsyncIterator[None]:
    """Call ``say`` every now and then while the body runs.

    Raises:
        trio.TooSlowError: the body took longer than the limit; what the body raises comes as it is.
    """
    try:
        with trio.fail_after(limit_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_say_again, say, every_s)
                yield
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None


async def _say_again(say: Callable[[], None], every_s: float) -> None:
    while True:
        await trio.sleep(every_s)
        say()


def lone_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error in a group, for nurseries that run only watchers: there is no second one to lose."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
        leaf = leaf.exceptions[0]
    return leaf
