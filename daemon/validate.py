"""Checks of a call's arguments by their kind, before its handler runs (guestfs-protocol section 3.6, steps 6 and 7)."""

from collections.abc import Callable
from typing import Any, Final

from daemon.devices import checked_device
from daemon.session import CallError, Session
from rpc.codec import Device, DeviceOrPath, FileName, GuestPath, Mountable, field_kinds
from rpc.procedures import Procedure


def _path(value: bytes) -> bytes:
    if not value.startswith(b"/"):
        raise CallError(f"{value!r}: a path must begin with /")
    return value


def _names(values: list[bytes]) -> list[bytes]:
    for value in values:
        if b"/" in value:
            raise CallError(f"{value!r}: a name must not contain /")
    return values


def _mountable(value: str) -> str:
    if value.startswith("btrfsvol:"):
        raise CallError(f"{value}: btrfs subvolumes cannot be mounted yet")
    return checked_device(value)


_CHECKS: Final[dict[Any, Callable[[Any], Any]]] = {
    GuestPath: _path,
    DeviceOrPath: _path,
    Device: checked_device,
    Mountable: _mountable,
    list[FileName]: _names,
}
_OWN_CHECKS: Final = frozenset({"mount", "mount_ro", "mount_options", "mount_vfs"})
"""These name their device in errors, so they check it themselves."""


class Validator:
    """The checks one procedure's arguments need, found once.

    Device names become the kernel's.
    """

    def __init__(self, procedure: Procedure[Any, Any]) -> None:
        own = procedure.name in _OWN_CHECKS
        kinds = field_kinds(procedure.args).items()
        self._checks = [(name, _CHECKS[kind]) for name, kind in kinds if kind in _CHECKS and not own]
        self._needs_mount = any(kind is GuestPath for _, kind in kinds)

    def __call__(self, session: Session, args: Any) -> Any:
        """Return the arguments, checked left to right."""
        changed = {}
        for name, check in self._checks:
            value = getattr(args, name)
            checked = check(value)
            if checked is not value:
                changed[name] = checked
        if self._needs_mount and not session.sysroot.is_mounted():
            raise CallError("nothing is mounted; mount a filesystem first")
        return args._replace(**changed) if changed else args
