"""Which handler answers a call, imported when the call arrives unless a read-only mount makes it.

All of them at once, with their rows, would make the daemon's start a quarter of a second longer under emulation.
"""

from importlib import import_module
from typing import Final

from daemon import dirs, files, hello, listings, mounts, stat, transfers, walk, xattrs
from daemon.index import NUMBERS
from daemon.registry import HANDLERS, Handler

AT_ONCE: Final = (dirs, files, hello, listings, mounts, stat, transfers, walk, xattrs)
_MODULE_OF: Final = {number: module for module, numbers in NUMBERS.items() for number in numbers}


def handler_of(number: int) -> Handler | None:
    """Return the handler of a call, None if we have none."""
    if number not in HANDLERS and number in _MODULE_OF:
        import_module(f"daemon.{_MODULE_OF[number]}")
    return HANDLERS.get(number)
