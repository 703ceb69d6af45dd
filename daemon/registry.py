"""Which function answers which call."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rpc.procedure import Procedure

if TYPE_CHECKING:
    from daemon.session import Pieces, Session

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class Handler(NamedTuple):
    """One call's row and the function that answers it."""

    procedure: Procedure[Any, Any]
    function: Callable[..., Any]


HANDLERS: Final[dict[int, Handler]] = {}


def handles(
    procedure: Procedure[ArgsT, RetT],
) -> Callable[[Callable[["Session", ArgsT], RetT]], Callable[["Session", ArgsT], RetT]]:
    """Register the function that answers a call; a second one for the same call is an error."""

    def register(function: Callable[["Session", ArgsT], RetT]) -> Callable[["Session", ArgsT], RetT]:
        _add(procedure, function)
        return function

    return register


def streams(
    procedure: Procedure[ArgsT, None],
) -> Callable[[Callable[["Session", ArgsT], "Pieces"]], Callable[["Session", ArgsT], "Pieces"]]:
    """Register the function that answers a FileOut call.

    It yields the file's pieces. What it raises before the first piece becomes an error reply; later the transfer is
    given up.
    """

    def register(function: Callable[["Session", ArgsT], "Pieces"]) -> Callable[["Session", ArgsT], "Pieces"]:
        _add(procedure, function)
        return function

    return register


def receives(
    procedure: Procedure[ArgsT, None],
) -> Callable[
    [Callable[["Session", ArgsT, Iterator[bytes]], None]], Callable[["Session", ArgsT, Iterator[bytes]], None]
]:
    """Register the function that answers a FileIn call.

    Its last argument yields the file's pieces; asking for the next one raises CallError if the sender gives up. What
    the function raises stops the sender, and what it leaves unread is dropped.
    """

    def register(
        function: Callable[["Session", ArgsT, Iterator[bytes]], None],
    ) -> Callable[["Session", ArgsT, Iterator[bytes]], None]:
        _add(procedure, function)
        return function

    return register


def _add(procedure: Procedure[Any, Any], function: Callable[..., Any]) -> None:
    if procedure.number in HANDLERS:
        raise ValueError(f"{procedure.name} has two handlers")
    HANDLERS[procedure.number] = Handler(procedure, function)
