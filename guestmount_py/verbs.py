"""Every procedure of the table as a method; their types are in ``verbs.pyi``, which ``tools.make_verbs`` makes."""

from functools import partial
from typing import Any

from guestmount_py.arguments import bound, procedure_named
from rpc.procedure import Procedure, Transfer


class _Verbs:
    def __getattr__(self, name: str) -> Any:
        try:
            procedure = procedure_named(name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__} has no attribute and no procedure {name!r}") from None
        return partial(_perform, self, procedure)


def _perform(handle: Any, procedure: Procedure[Any, Any], /, *values: Any, **named: Any) -> Any:
    if procedure.transfer is Transfer.FILE_IN:
        source, *values = values
        size_hint_bytes = named.pop("size_hint_bytes", 0)
        return handle.send(procedure, bound(procedure, tuple(values), named), source, size_hint_bytes)
    perform = handle.receive if procedure.transfer is Transfer.FILE_OUT else handle.call
    return perform(procedure, bound(procedure, values, named))


class AsyncVerbs(_Verbs):
    """One coroutine for each procedure; those with a FileOut give a ``Download``."""


class SyncVerbs(_Verbs):
    """The same, blocking."""
