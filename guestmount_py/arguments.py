"""Arguments of a call as a caller writes them, turned into what goes on the wire."""

import os
from types import NoneType
from typing import Any, Final, TypeAlias, get_args, get_origin

from rpc import procedures
from rpc.arguments import OPAQUE_TEXTS
from rpc.codec import DeviceOrPath, FileName, GuestPath, MountableOrPath, field_kinds
from rpc.errors import LocalProtocolError
from rpc.procedure import Procedure

GuestName: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path or name in the guest: bytes, or their text as UTF-8 with surrogateescape."""
INTERNAL: Final = frozenset({"hello", "resume"})
"""What a launch asks for itself, once; no verbs for anybody else."""
_BYTES_KINDS: Final = frozenset((GuestPath, FileName, DeviceOrPath, MountableOrPath))


def procedure_named(name: str) -> Procedure[Any, Any]:
    """Return a row of the table.

    Raises:
        AttributeError: there is none, or it is not for callers.
    """
    row = getattr(procedures, name.upper(), None)
    if not isinstance(row, Procedure) or row.name != name or name in INTERNAL:
        raise AttributeError(f"there is no procedure {name}")
    return row


def bound(procedure: Procedure[Any, Any], values: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return the arguments of a call; optional ones are given by name.

    Raises:
        TypeError: there are too many or too few, or one is not of its kind.
        LocalProtocolError: a text contains NUL, at which libguestfs's daemon would cut it.
    """
    required = len(field_kinds(procedure.args)) - len(procedure.optargs)
    if len(values) > required:
        raise TypeError(f"{procedure.name} takes {required} arguments, not {len(values)}; optional ones go by name")
    given = procedure.args(*values, **named)
    kinds = field_kinds(procedure.args)
    values = tuple(_converted(kind, value) for kind, value in zip(kinds.values(), given, strict=True))
    for name, value in zip(kinds, values, strict=True):
        texts = value if isinstance(value, list) else (value,)
        if name not in OPAQUE_TEXTS and any(isinstance(text, str) and "\0" in text for text in texts):
            raise LocalProtocolError(f"{procedure.name}: {name} contains NUL")  # not the value: it may be a key
    return procedure.args._make(values)


def _converted(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(kind) is list:
        if isinstance(value, str | bytes):
            raise TypeError(f"{value!r} is no list")
        return [_converted(get_args(kind)[0], item) for item in value]
    if NoneType in get_args(kind):
        return _converted(get_args(kind)[0], value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind in _BYTES_KINDS and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if kind is not bytes and kind not in _BYTES_KINDS and isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value
