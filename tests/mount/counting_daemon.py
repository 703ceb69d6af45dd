"""guestfsd that appends the name of each call to the file which the environment's CALLS names."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

from daemon.__main__ import main
from daemon.handlers import handler_of
from daemon.index import NUMBERS
from daemon.registry import HANDLERS
from daemon.session import Session

_calls: Final = os.open(os.environ["CALLS"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def _counted(name: str, function: Callable[[Session, Any], Any]) -> Callable[[Session, Any], Any]:
    def handler(session: Session, args: Any) -> Any:
        os.write(_calls, f"{name}\n".encode())
        return function(session, args)

    return handler


if __name__ == "__main__":
    for number in (number for numbers in NUMBERS.values() for number in numbers):
        known = handler_of(number)
        assert known is not None
        HANDLERS[number] = known._replace(function=_counted(known.procedure.name, known.function))
    sys.exit(main(sys.argv[1:]))
