"""Hives of Windows' registry, key by key, also to be changed: libhivex, called from here.

One hive is open at a time, in the process of one channel. To inspect, ``hive`` does with less.
"""

import os
from collections.abc import Callable
from errno import EROFS
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daemon.files import opened
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Int64
from rpc.procedures.hivex import (
    HivexAddChildArgs,
    HivexChildArgs,
    HivexCommitArgs,
    HivexGetValueArgs,
    HivexNode,
    HivexNodeArgs,
    HivexOpenArgs,
    HivexSetValueArgs,
    HivexValue,
    HivexValueArgs,
)

if TYPE_CHECKING:
    import ctypes

_VERBOSE: Final = 1
_DEBUG: Final = 2
_WRITE: Final = 4
_UNSAFE: Final = 8
"""HIVEX_OPEN_… (hivex.h)."""


class _Opened(NamedTuple):
    """An open hive: libhivex's handle, the guest's path of it, and whether it may be changed."""

    handle: int
    path: bytes
    is_writable: bool


_opened: list[_Opened] = []
"""The hive, if one is open."""


@cache
def _library() -> "ctypes.CDLL":
    import ctypes

    library = ctypes.CDLL("libhivex.so.0", use_errno=True)
    pointer, number, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.hivex_open.argtypes = [text, ctypes.c_int]
    library.hivex_open.restype = pointer
    for name, more in (
        ("close", []),
        ("root", []),
        ("node_name", [number]),
        ("node_children", [number]),
        ("node_get_child", [number, text]),
        ("node_parent", [number]),
        ("node_values", [number]),
        ("node_get_value", [number, text]),
        ("value_key", [number]),
        ("value_type", [number, pointer, pointer]),
        ("value_value", [number, pointer, pointer]),
        ("value_string", [number]),
        ("commit", [text, ctypes.c_int]),
        ("node_add_child", [number, text]),
        ("node_delete_child", [number]),
        ("node_set_value", [number, pointer, ctypes.c_int]),
    ):
        getattr(library, f"hivex_{name}").argtypes = [pointer, *more]
    for name in ("root", "node_get_child", "node_parent", "node_get_value", "node_add_child"):
        getattr(library, f"hivex_{name}").restype = number
    for name in ("node_name", "node_children", "node_values", "value_key", "value_value", "value_string"):
        getattr(library, f"hivex_{name}").restype = pointer
    return library


def _done(name: str, result: Any, *, failed: object = None) -> Any:
    """Return what a function of libhivex answered.

    Raises:
        OSError: it failed.
    """
    import ctypes

    if result == failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _hive(name: str, *, to_write: bool = False) -> _Opened:
    """Return the open hive.

    Args:
        name: the call that wants it.
        to_write: it must be one that was opened to be changed.
    """
    if not _opened:
        raise CallError(f"{name}: no hive is open: call hivex_open first")
    if to_write and not _opened[0].is_writable:
        raise OSError(EROFS, f"{name}: the hive was opened for reading")
    return _opened[0]


def _asked(name: str, *arguments: Any, failed: object = None, to_write: bool = False) -> Any:
    """Call a function of libhivex on the open hive."""
    import ctypes

    handle = _hive(name, to_write=to_write).handle
    ctypes.set_errno(0)
    return _done(name, getattr(_library(), name)(handle, *arguments), failed=failed)


def _taken(place: int, read: Callable[[int], Any]) -> Any:
    """Return what is read from memory of libhivex's, which is freed."""
    import ctypes

    try:
        return read(place)
    finally:
        free = ctypes.CDLL(None).free
        free.argtypes = [ctypes.c_void_p]
        free(place)


def _text(name: str, handle: int) -> str:
    import ctypes

    return os.fsdecode(_taken(_asked(name, handle), ctypes.string_at))


def _handles(name: str, handle: int) -> list[int]:
    import ctypes

    def read(place: int) -> list[int]:
        found: list[int] = []
        numbers = ctypes.cast(place, ctypes.POINTER(ctypes.c_size_t))
        while number := numbers[len(found)]:
            found.append(number)
        return found

    numbers: list[int] = _taken(_asked(name, handle), read)
    return numbers


def _found(name: str, handle: int, text: str) -> Int64:
    """Return the handle of something that is looked for by name, 0 if there is none."""
    import ctypes

    try:
        return Int64(_asked(name, handle, os.fsencode(text), failed=0))
    except OSError:
        if ctypes.get_errno():
            raise
        return Int64(0)


@handles(procedures.HIVEX_OPEN)
def hivex_open(session: Session, args: HivexOpenArgs) -> None:
    """Open a hive in the place of the one that was open.

    As libhivex opens it to be changed, it is all in memory: its filesystem can be unmounted. It gets the file by its
    descriptor, for it must not follow the guest's links.
    """
    if _opened:
        hivex_close(session, NoArgs())
    options = ((args.verbose, _VERBOSE), (args.debug, _DEBUG), (args.unsafe, _UNSAFE))
    flags = _WRITE | sum(flag for wanted, flag in options if wanted)
    with opened(session, args.filename) as file:
        handle = _done("hivex_open", _library().hivex_open(b"/proc/self/fd/%d" % file, flags))
    _opened.append(_Opened(handle, args.filename, bool(args.write)))


@handles(procedures.HIVEX_CLOSE)
def hivex_close(_session: Session, _args: NoArgs) -> None:
    """Close the hive; what was not committed is lost."""
    _library().hivex_close(_hive("hivex_close").handle)
    _opened.clear()


@handles(procedures.HIVEX_ROOT)
def hivex_root(_session: Session, _args: NoArgs) -> Int64:
    """Return the root key."""
    return Int64(_asked("hivex_root", failed=0))


@handles(procedures.HIVEX_NODE_NAME)
def hivex_node_name(_session: Session, args: HivexNodeArgs) -> str:
    """Return the name of a key; that of the root means nothing."""
    return _text("hivex_node_name", args.nodeh)


@handles(procedures.HIVEX_NODE_CHILDREN)
def hivex_node_children(_session: Session, args: HivexNodeArgs) -> list[HivexNode]:
    """Return the keys of a key."""
    return [HivexNode(Int64(number)) for number in _handles("hivex_node_children", args.nodeh)]


@handles(procedures.HIVEX_NODE_GET_CHILD)
def hivex_node_get_child(_session: Session, args: HivexChildArgs) -> Int64:
    """Return the key with a name, in any case, of a key; 0 if there is none."""
    return _found("hivex_node_get_child", args.nodeh, args.name)


@handles(procedures.HIVEX_NODE_PARENT)
def hivex_node_parent(_session: Session, args: HivexNodeArgs) -> Int64:
    """Return the key that a key is in."""
    return Int64(_asked("hivex_node_parent", args.nodeh, failed=0))


@handles(procedures.HIVEX_NODE_VALUES)
def hivex_node_values(_session: Session, args: HivexNodeArgs) -> list[HivexValue]:
    """Return the values of a key."""
    return [HivexValue(Int64(number)) for number in _handles("hivex_node_values", args.nodeh)]


@handles(procedures.HIVEX_NODE_GET_VALUE)
def hivex_node_get_value(_session: Session, args: HivexGetValueArgs) -> Int64:
    """Return the value with a name, in any case, of a key; 0 if there is none."""
    return _found("hivex_node_get_value", args.nodeh, args.key)


@handles(procedures.HIVEX_VALUE_KEY)
def hivex_value_key(_session: Session, args: HivexValueArgs) -> str:
    """Return the name of a value."""
    return _text("hivex_value_key", args.valueh)


@handles(procedures.HIVEX_VALUE_TYPE)
def hivex_value_type(_session: Session, args: HivexValueArgs) -> Int64:
    """Return the type of a value, such as 1 for REG_SZ."""
    import ctypes

    kind, length = ctypes.c_int(), ctypes.c_size_t()
    _asked("hivex_value_type", args.valueh, ctypes.byref(kind), ctypes.byref(length), failed=-1)
    return Int64(kind.value)


@handles(procedures.HIVEX_VALUE_VALUE)
def hivex_value_value(_session: Session, args: HivexValueArgs) -> bytes:
    """Return the data of a value."""
    import ctypes

    kind, length = ctypes.c_int(), ctypes.c_size_t()
    place = _asked("hivex_value_value", args.valueh, ctypes.byref(kind), ctypes.byref(length))
    data: bytes = _taken(place, lambda place: ctypes.string_at(place, length.value))
    return data


@handles(procedures.HIVEX_VALUE_UTF8)
def hivex_value_utf8(_session: Session, args: HivexValueArgs) -> str:
    """Return a value that is a text: the older name of ``hivex_value_string``."""
    return _text("hivex_value_string", args.valueh)


@handles(procedures.HIVEX_VALUE_STRING)
def hivex_value_string(_session: Session, args: HivexValueArgs) -> str:
    """Return a value that is a text."""
    return _text("hivex_value_string", args.valueh)


@handles(procedures.HIVEX_COMMIT)
def hivex_commit(session: Session, args: HivexCommitArgs) -> None:
    """Write the hive, to its own file or to another one."""
    hive = _hive("hivex_commit", to_write=True)
    path = hive.path if args.filename is None else os.fsencode(args.filename)
    if not path.startswith(b"/"):
        raise CallError(f"{args.filename}: a path must begin with /")
    with session.sysroot:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _asked("hivex_commit", b"/proc/self/fd/%d" % file, 0, failed=-1)
    finally:
        os.close(file)


@handles(procedures.HIVEX_NODE_ADD_CHILD)
def hivex_node_add_child(_session: Session, args: HivexAddChildArgs) -> Int64:
    """Make a key in a key."""
    return Int64(_asked("hivex_node_add_child", args.parent, os.fsencode(args.name), failed=0, to_write=True))


@handles(procedures.HIVEX_NODE_DELETE_CHILD)
def hivex_node_delete_child(_session: Session, args: HivexNodeArgs) -> None:
    """Remove a key and all that is in it."""
    _asked("hivex_node_delete_child", args.nodeh, failed=-1, to_write=True)


@handles(procedures.HIVEX_NODE_SET_VALUE)
def hivex_node_set_value(_session: Session, args: HivexSetValueArgs) -> None:
    """Set a value of a key, or replace it."""
    import ctypes

    class SetValue(ctypes.Structure):
        """hive_set_value of hivex.h."""

        _fields_ = (
            ("key", ctypes.c_char_p),
            ("t", ctypes.c_int),
            ("len", ctypes.c_size_t),
            ("value", ctypes.c_char_p),
        )

    value = SetValue(os.fsencode(args.key), args.t, len(args.val), args.val)
    _asked("hivex_node_set_value", args.nodeh, ctypes.byref(value), 0, failed=-1, to_write=True)
