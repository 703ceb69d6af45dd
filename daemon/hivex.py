"""Hives of Windows' registry, key by key, also to be changed: libhivex, called from here.

One hive is open at a time, in the process of one channel. To inspect, ``hive`` does with less.
"""

import os
from errno import EROFS
from typing import Final, NamedTuple

from daemon.files import opened
from daemon.libhivex import LibraryHive
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

_VERBOSE: Final = 1
_DEBUG: Final = 2
_WRITE: Final = 4
_UNSAFE: Final = 8
"""HIVEX_OPEN_… (hivex.h)."""


class _Opened(NamedTuple):
    """An open hive, the guest's path of it, and whether it may be changed."""

    hive: LibraryHive
    path: bytes
    is_writable: bool


_opened: list[_Opened] = []
"""The hive, if one is open."""


def _current() -> _Opened:
    if not _opened:
        raise CallError("no hive is open: call hivex_open first")
    return _opened[0]


def _hive() -> LibraryHive:
    return _current().hive


def _to_change() -> LibraryHive:
    current = _current()
    if not current.is_writable:
        raise OSError(EROFS, "the hive was opened for reading")
    return current.hive


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
        hive = LibraryHive(b"/proc/self/fd/%d" % file, flags)
    _opened.append(_Opened(hive, args.filename, bool(args.write)))


@handles(procedures.HIVEX_CLOSE)
def hivex_close(_session: Session, _args: NoArgs) -> None:
    """Close the hive; what was not committed is lost."""
    _hive().close()
    _opened.clear()


@handles(procedures.HIVEX_ROOT)
def hivex_root(_session: Session, _args: NoArgs) -> Int64:
    """Return the root key."""
    return Int64(_hive().number("hivex_root"))


@handles(procedures.HIVEX_NODE_NAME)
def hivex_node_name(_session: Session, args: HivexNodeArgs) -> str:
    """Return the name of a key; that of the root means nothing."""
    return _hive().text("hivex_node_name", args.nodeh)


@handles(procedures.HIVEX_NODE_CHILDREN)
def hivex_node_children(_session: Session, args: HivexNodeArgs) -> list[HivexNode]:
    """Return the keys of a key."""
    return [HivexNode(Int64(number)) for number in _hive().numbers("hivex_node_children", args.nodeh)]


@handles(procedures.HIVEX_NODE_GET_CHILD)
def hivex_node_get_child(_session: Session, args: HivexChildArgs) -> Int64:
    """Return the key with a name, in any case, of a key; 0 if there is none."""
    return Int64(_hive().looked_for("hivex_node_get_child", args.nodeh, args.name))


@handles(procedures.HIVEX_NODE_PARENT)
def hivex_node_parent(_session: Session, args: HivexNodeArgs) -> Int64:
    """Return the key that a key is in."""
    return Int64(_hive().number("hivex_node_parent", args.nodeh))


@handles(procedures.HIVEX_NODE_VALUES)
def hivex_node_values(_session: Session, args: HivexNodeArgs) -> list[HivexValue]:
    """Return the values of a key."""
    return [HivexValue(Int64(number)) for number in _hive().numbers("hivex_node_values", args.nodeh)]


@handles(procedures.HIVEX_NODE_GET_VALUE)
def hivex_node_get_value(_session: Session, args: HivexGetValueArgs) -> Int64:
    """Return the value with a name, in any case, of a key; 0 if there is none."""
    return Int64(_hive().looked_for("hivex_node_get_value", args.nodeh, args.key))


@handles(procedures.HIVEX_VALUE_KEY)
def hivex_value_key(_session: Session, args: HivexValueArgs) -> str:
    """Return the name of a value."""
    return _hive().text("hivex_value_key", args.valueh)


@handles(procedures.HIVEX_VALUE_TYPE)
def hivex_value_type(_session: Session, args: HivexValueArgs) -> Int64:
    """Return the type of a value, such as 1 for REG_SZ."""
    return Int64(_hive().type_of(args.valueh))


@handles(procedures.HIVEX_VALUE_VALUE)
def hivex_value_value(_session: Session, args: HivexValueArgs) -> bytes:
    """Return the data of a value."""
    return _hive().data_of(args.valueh)


@handles(procedures.HIVEX_VALUE_UTF8)
def hivex_value_utf8(_session: Session, args: HivexValueArgs) -> str:
    """Return a value that is a text: the older name of ``hivex_value_string``."""
    return _hive().text("hivex_value_string", args.valueh)


@handles(procedures.HIVEX_VALUE_STRING)
def hivex_value_string(_session: Session, args: HivexValueArgs) -> str:
    """Return a value that is a text."""
    return _hive().text("hivex_value_string", args.valueh)


@handles(procedures.HIVEX_COMMIT)
def hivex_commit(session: Session, args: HivexCommitArgs) -> None:
    """Write the hive, to its own file or to another one."""
    hive = _to_change()
    path = _current().path if args.filename is None else os.fsencode(args.filename)
    if not path.startswith(b"/"):
        raise CallError(f"{args.filename}: a path must begin with /")
    with session.sysroot:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        hive.commit(b"/proc/self/fd/%d" % file)
    finally:
        os.close(file)


@handles(procedures.HIVEX_NODE_ADD_CHILD)
def hivex_node_add_child(_session: Session, args: HivexAddChildArgs) -> Int64:
    """Make a key in a key."""
    return Int64(_to_change().number("hivex_node_add_child", args.parent, os.fsencode(args.name)))


@handles(procedures.HIVEX_NODE_DELETE_CHILD)
def hivex_node_delete_child(_session: Session, args: HivexNodeArgs) -> None:
    """Remove a key and all that is in it."""
    _to_change().delete(args.nodeh)


@handles(procedures.HIVEX_NODE_SET_VALUE)
def hivex_node_set_value(_session: Session, args: HivexSetValueArgs) -> None:
    """Set a value of a key, or replace it."""
    _to_change().set_value(args.nodeh, args.key, args.t, args.val)
