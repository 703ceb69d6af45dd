"""Checks of a call before its handler runs, in the protocol's order (guestfs-protocol section 3.6, steps 4 to 7)."""

import os
from collections.abc import Callable
from typing import Any, Final

from daemon.devices import checked_device, names_device
from daemon.mountables import checked_mountable
from daemon.session import CallError, Session
from rpc.arguments import OPAQUE_TEXTS
from rpc.codec import Device, DeviceOrPath, FileName, GuestPath, Mountable, MountableOrPath, field_kinds
from rpc.events import Message
from rpc.mountables import SUBVOLUME
from rpc.procedure import Procedure
from rpc.xdr import Reader


def _path(value: bytes) -> bytes:
    if not value.startswith(b"/"):
        raise CallError(f"{os.fsdecode(value)}: a path must begin with /")
    if b"\0" in value:
        raise CallError(f"{value!r}: a path must not contain NUL")
    return value


def _paths(values: list[bytes]) -> list[bytes]:
    for value in values:
        _path(value)
    return values


def _names(values: list[bytes]) -> list[bytes]:
    for value in values:
        if b"/" in value or b"\0" in value:
            raise CallError(f"{value!r}: a name must not contain / or NUL")
    return values


def _means_path(value: bytes) -> bool:
    return not value.startswith(SUBVOLUME.encode()) and not names_device(value)


def _text(value: str | None) -> str | None:
    if value and "\0" in value:
        raise CallError("a text must not contain NUL")  # which may be a key, so it is not repeated
    return value


def _texts(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        _text(value)
    return values


def _devices(values: list[str]) -> list[str]:
    return [checked_device(value) for value in values]


_CHECKS: Final[dict[Any, Callable[[Any], Any]]] = {
    GuestPath: _path,
    DeviceOrPath: _path,
    Device: checked_device,
    Mountable: checked_mountable,
    str: _text,
    str | None: _text,
    list[str]: _texts,
    list[str] | None: _texts,
    list[Device]: _devices,
    list[FileName]: _names,
    list[GuestPath]: _paths,
}


class Validator:
    """What one procedure's calls must hold to, found once.

    Names of devices become the kernel's, optional arguments whose bit is clear become None.
    """

    def __init__(self, procedure: Procedure[Any, Any]) -> None:
        kinds = field_kinds(procedure.args).items()
        self._procedure = procedure
        self._decode = procedure.args_codec.decode
        self._optargs = procedure.optargs
        self._checks = [(name, _CHECKS[kind]) for name, kind in kinds if kind in _CHECKS and name not in OPAQUE_TEXTS]
        self._maybe_paths = [name for name, kind in kinds if kind in (DeviceOrPath, MountableOrPath)]
        self._needs_mount = any(kind in (GuestPath, list[GuestPath]) for _, kind in kinds)

    def __call__(self, session: Session, call: Message) -> Any:
        """Return the arguments of a call.

        Raises:
            CallError: unknown optional arguments, a bad path or name, or nothing is mounted.
            RemoteProtocolError: the arguments cannot be decoded.
            OSError: a device does not open.
        """
        bitmask = call.header.optargs_bitmask
        if bitmask >> len(self._optargs):
            raise CallError(f"{self._procedure.name}: unknown optional arguments 0x{bitmask:x}")
        args = self._decode(Reader(call.body))
        changed: dict[str, Any] = {name: None for bit, name in enumerate(self._optargs) if not bitmask >> bit & 1}
        for name, check in self._checks:
            value = getattr(args, name)
            checked = check(value)
            if checked is not value:
                changed[name] = checked
        if self._needs_mount or any(_means_path(getattr(args, name)) for name in self._maybe_paths):
            session.must_be_mounted()
        return args._replace(**changed) if changed else args
