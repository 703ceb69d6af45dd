"""Hypothesis strategies for everything the table of calls can carry."""

import inspect
from importlib import import_module
from types import NoneType
from typing import Any, Final, get_args, get_origin

from hypothesis import settings
from hypothesis import strategies as st

from rpc import arguments, types
from rpc.codec import (
    Char,
    Device,
    DeviceOrPath,
    FileName,
    GuestPath,
    Int32,
    Int64,
    LvmUuid,
    Mountable,
    MountableOrPath,
    Pairs,
    UInt32,
    UInt64,
    field_kinds,
    optional_fields,
)
from rpc.procedures import GROUPS

BRIEFLY: Final = settings(max_examples=30, deadline=None)
"""Each type gets its own run, and the machine may be busy."""
TEXT: Final = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
_LATIN_1: Final = st.characters(max_codepoint=0xFF)
_PATHS: Final = st.binary(max_size=40).map(lambda data: data.translate(None, b"\0"))
_NAMES: Final = st.binary(min_size=1, max_size=40).map(lambda data: data.translate(None, b"/\0") or b"name")
SCALARS: Final[dict[Any, st.SearchStrategy[Any]]] = {
    Int32: st.integers(-(1 << 31), (1 << 31) - 1),
    UInt32: st.integers(0, (1 << 32) - 1),
    Int64: st.integers(-(1 << 63), (1 << 63) - 1),
    UInt64: st.integers(0, (1 << 64) - 1),
    Char: _LATIN_1,
    LvmUuid: st.text(_LATIN_1, min_size=32, max_size=32),
    float: st.floats(width=32, allow_nan=False),
    bool: st.booleans(),
    str: TEXT,
    bytes: st.binary(max_size=80),
    Device: TEXT,
    Mountable: TEXT,
    GuestPath: _PATHS,
    FileName: _NAMES,
    DeviceOrPath: _PATHS,
    MountableOrPath: _PATHS,
    Pairs: st.lists(st.tuples(TEXT, TEXT), max_size=5),
}


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in SCALARS:
        return SCALARS[annotation]
    if get_origin(annotation) is list:
        return st.lists(values_of(get_args(annotation)[0]), max_size=5)
    if NoneType in get_args(annotation):
        return st.none() | values_of(next(kind for kind in get_args(annotation) if kind is not NoneType))
    return st.builds(annotation, *map(values_of, field_kinds(annotation).values()))


def _classes(module: Any) -> list[type[Any]]:
    found = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    return sorted(set(found), key=lambda cls: cls.__name__)


_GROUPS: Final = [import_module(f"rpc.procedures.{group}") for group in GROUPS]
_TUPLES: Final = [cls for module in (arguments, types, *_GROUPS) for cls in _classes(module) if issubclass(cls, tuple)]
ARGUMENTS: Final = [cls for cls in _TUPLES if cls.__name__.endswith("Args")]
STRUCTURES: Final = [cls for cls in _TUPLES if cls not in ARGUMENTS]


def with_fillers(args: Any, blank: Any) -> Any:
    """Return arguments as the receiver sees them: a filler where an optional one is not given."""
    missing = [name for name in optional_fields(type(args)) if getattr(args, name) is None]
    return args._replace(**{name: getattr(blank, name) for name in missing})
