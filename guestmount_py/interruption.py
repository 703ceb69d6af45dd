"""Work that a signal ends in order, for commands that do one thing and end."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from appliance.patience import lone_leaf

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def interruptible(work: Callable[[], Awaitable[None]]) -> None:
    """Do something that a signal cancels, unless that signal is ignored, as nohup(1) makes it.

    Raises:
        KeyboardInterrupt: it was cancelled.
    """
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        async with trio.open_nursery() as nursery:
            if heeded:
                await nursery.start(_cancel_on_signal, heeded, nursery.cancel_scope)
            await work()
            nursery.cancel_scope.cancel()
            return
    except BaseExceptionGroup as group:
        raise lone_leaf(group) from None
    raise KeyboardInterrupt


async def _cancel_on_signal(
    numbers: Sequence[int], scope: trio.CancelScope, task_status: "trio.TaskStatus[None]"
) -> None:
    with trio.open_signal_receiver(*numbers) as received:
        task_status.started()
        await anext(received)
        scope.cancel()
