"""What operating system a mounted filesystem holds."""

from typing import Final, NamedTuple

from daemon.guest_view import GuestView
from daemon.linux_systems import linux_system
from daemon.other_systems import bsd_system, installer
from daemon.windows import Place, windows_system
from rpc.procedures.inspection import System

_TEXT_MAX: Final = 1024
"""Characters; what a guest says of itself has no bound."""


class Looked(NamedTuple):
    """A system, and where it says that its drives with letters are."""

    system: System
    places: dict[str, Place]


def system_of(view: GuestView) -> Looked | None:
    """Return the system whose root this is, or that it installs; None if it is neither."""
    looked = _looked(view)
    if looked is None:
        return None
    system = System._make(each[:_TEXT_MAX] if isinstance(each, str) else each for each in looked.system)
    return looked._replace(system=system)


def _looked(view: GuestView) -> Looked | None:
    if view.is_directory(b"/etc", b"/ostree", b"/hurd"):
        found = bsd_system(view) or linux_system(view)
        if found is not None:
            return Looked(found, {})
    windows = windows_system(view)
    if windows is not None:
        return Looked(*windows)
    medium = installer(view)
    return Looked(medium, {}) if medium is not None else None
