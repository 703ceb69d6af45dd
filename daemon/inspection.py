"""Which operating systems the guest's disks hold; every process of the daemon knows what one of them found."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple

from daemon import mounts
from daemon.assembly import IN_APPLIANCE, incomplete
from daemon.btrfs_roots import families, is_within, mountable_of_entry
from daemon.devices import disks
from daemon.filesystems import ENCRYPTED, Filesystem, filesystems
from daemon.fstab import Entry, entries, sifted
from daemon.guest_names import GuestNames, disk_of
from daemon.guest_view import GuestView
from daemon.mountables import checked_mountable, wire_mountable
from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.systems import Looked, system_of
from daemon.windows import Place
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Mountable, Pairs
from rpc.mountables import TOP_LEVEL, mountable_of, volume_of
from rpc.procedures.inspection import FIND_SYSTEMS, FoundSystem, FoundSystems, RootArgs
from rpc.procedures.mounting import MountArgs
from rpc.xdr import Reader, Writer

_STATE: Final = "/run/guestfsd.inspection"
_NOT_MOUNTED: Final = frozenset(("swap", "unknown", *ENCRYPTED))
_SECTOR_BYTES: Final = 512
_LOOK_S: Final = 60.0
"""How long to look at one filesystem: a hundred times what a system takes under emulation."""
_SEARCH_S: Final = 600.0
"""How long to look at all, before those that are left are only named."""

_found: list[FoundSystem] = []


def _remember(found: FoundSystems) -> None:
    _found[:] = found.systems
    if IN_APPLIANCE:
        writer = Writer()
        FIND_SYSTEMS.result.encode(writer, found)
        with open(_STATE, "wb") as file:
            file.write(writer.getvalue())


def known_systems() -> list[FoundSystem]:
    """Return what was found when somebody asked last."""
    if IN_APPLIANCE:
        with suppress(FileNotFoundError), open(_STATE, "rb") as file:
            return FIND_SYSTEMS.result.decode(Reader(file.read())).systems
    return _found


def known_system(args: RootArgs) -> FoundSystem:
    """Return the system with a root filesystem.

    Raises:
        CallError: none was found there.
    """
    name = wire_mountable(args.root)
    for found in known_systems():
        if found.root == name:
            return found
    raise CallError(f"{name}: not a root that inspect_os found")


class _Search(NamedTuple):
    """One look at all disks.

    Attributes:
        session: nothing is mounted in it.
        candidates: all that may be mounted.
        unread: what cannot be, and why.
        end_s: of the monotonic clock.
    """

    session: Session
    candidates: Sequence[Filesystem]
    unread: Pairs
    end_s: float

    def systems_of(self, family: Sequence[Filesystem]) -> Iterator[tuple[Filesystem, FoundSystem]]:
        """Find the systems among the states of one; the rest are what it was at some time.

        What its own fstab says is mounted on / is one; if none is, the first one that holds any.
        """
        named: list[Filesystem] = []
        if len(family) > 1:
            tables = self._roots_named(family)
            named = [each for each in family if tables[each.mountable] == each.mountable]
            # a snapshot without an fstab is of data
            family = [each for each in family if tables[each.mountable] is not None or not each.is_snapshot]
        is_found = False
        for each in (*named, *(other for other in family if other not in named)):
            if is_found and each not in named:
                return
            found = self.looked_at(each)
            if found is not None:
                is_found = True
                yield each, found

    def _roots_named(self, family: Sequence[Filesystem]) -> dict[str, str | None]:
        """Return what the fstab of each subvolume mounts on /: empty if nothing, None if there is no fstab."""
        device = volume_of(family[0].mountable).device
        found: dict[str, str | None] = dict.fromkeys(each.mountable for each in family)
        end_s = min(time.monotonic() + _LOOK_S, self.end_s)
        try:
            self._mount(mountable_of(device, TOP_LEVEL), "/")
            for each in family:
                if each.subvolume is not None:
                    view = GuestView(self.session, os.fsencode(f"/{each.subvolume.path}"), end_s)
                    found[each.mountable] = self._root_named(view, each.mountable)
        except (CallError, OSError) as exc:
            sys.stderr.write(f"guestfsd: fstab of the subvolumes of {device}: {exc}\n")
        finally:
            self._unmount()
        return found

    def _root_named(self, view: GuestView, mountable: str) -> str | None:
        table = entries(view.text(b"/etc/fstab"))
        if not table:
            return None
        entry = next((entry for entry in table if entry.place == "/"), None)
        if entry is None:
            return ""
        names = GuestNames(self.candidates, mountable, _opened(view), _arrays(view), len(disks()))
        device = names.device(entry.device)
        # under whatever name that is not known here, it is where its fstab was found
        return mountable_of_entry(device or volume_of(mountable).device, entry, self.candidates)

    def looked_at(self, candidate: Filesystem) -> FoundSystem | None:
        """Mount a filesystem for a moment; return the system that it is the root of.

        None if it is none, or if it cannot be mounted or read: that must not hide the systems on the other ones.
        """
        view = GuestView(self.session, end_s=min(time.monotonic() + _LOOK_S, self.end_s))
        try:
            view.check_time()
            self._mount(candidate.mountable, "/")
            return self._found(candidate.mountable, view)
        except (CallError, OSError) as exc:
            sys.stderr.write(f"guestfsd: {candidate.mountable} is not inspected: {exc}\n")
            self.unread.append((candidate.mountable, str(exc)))
            return None
        finally:
            self._unmount()

    def _unmount(self) -> None:
        """Unmount everything without a write; XFS, though mounted read-only, would write to its log (xfs_log.c)."""
        with ExitStack() as stack:
            for mount in self.session.sysroot.mount_points():
                with suppress(OSError):
                    stack.enter_context(mounts.unwritten(mount.device))
            mounts.umount_all(self.session, NoArgs())

    def _mount(self, mountable: str, place: str) -> None:
        mounts.mount_ro(self.session, MountArgs(Mountable(checked_mountable(mountable)), place))

    def _found(self, root: str, view: GuestView) -> FoundSystem | None:
        table, notes = sifted(entries(view.text(b"/etc/fstab")))
        names = GuestNames(self.candidates, root, _opened(view), _arrays(view), len(disks())) if table else None
        mountpoints, absent = [("/", root)], []
        for entry in table:
            if entry.place == "/" or names is None:
                continue
            view.check_time()
            mountable = self._mountable(entry, names)
            if mountable is not None:
                mountpoints.append((entry.place, mountable))
            elif entry.is_optional:
                notes.append(f"{entry.place} is left out: {entry.device} is on none of the disks, and is optional")
            else:
                absent.append((entry.device, entry.place))
        guessed = list(names.guessed.items()) if names is not None else []
        apart = dict(mountpoints).get("/usr")
        if apart is not None:  # it has the programs, and perhaps os-release
            with suppress(CallError, OSError):
                self._mount(apart, "/usr")
        looked = system_of(view)
        if looked is None:
            return None
        drives = self._drives(root, looked)
        return FoundSystem(Mountable(root), looked.system, mountpoints, absent, drives, guessed, notes)

    def _mountable(self, entry: Entry, names: GuestNames) -> str | None:
        """Return what an entry mounts, as named on the wire; None if it is on none of the disks."""
        device = names.device(entry.device)
        if device is None:
            return None
        return mountable_of_entry(device, entry, self.candidates)

    def _drives(self, root: str, looked: Looked) -> Pairs:
        drives = [(letter, self._drive(place, root)) for letter, place in sorted(looked.places.items())]
        return [(letter, device) for letter, device in drives if device is not None]

    def _drive(self, place: Place, root: str) -> str | None:
        """Return the device that is at a place; of clones, the one on the disk of the root."""
        for found in sorted(self.candidates, key=lambda found: disk_of(found.mountable) != disk_of(root)):
            tags = found.tags
            scheme, uuid = tags.get("PART_ENTRY_SCHEME"), tags.get("PART_ENTRY_UUID", "").lower()
            start_bytes = int(tags.get("PART_ENTRY_OFFSET", "0")) * _SECTOR_BYTES
            if place.partition_uuid and scheme == "gpt" and uuid == place.partition_uuid:
                return found.mountable
            of_disk = place.disk_id and scheme == "dos" and uuid.partition("-")[0] == place.disk_id
            if of_disk and start_bytes == place.start_bytes:
                return found.mountable
        return None


def _opened(view: GuestView) -> dict[str, str]:
    """Return what the guest calls its encrypted devices, and what they are on (crypttab(5))."""
    rows = (line.split() for line in view.text(b"/etc/crypttab").splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1 and not row[0].startswith("#")}


def _arrays(view: GuestView) -> dict[str, str]:
    """Return what the guest calls its arrays, and their UUIDs (mdadm.conf(5))."""
    found = {}
    for path in (b"/etc/mdadm/mdadm.conf", b"/etc/mdadm.conf"):
        for line in view.text(path).splitlines():
            words = line.split()
            if len(words) > 2 and words[0].upper() == "ARRAY":
                uuid = next((word[5:] for word in words if word.lower().startswith("uuid=")), "")
                found[words[1]] = uuid.lower()
    return found


@handles(procedures.FIND_SYSTEMS)
def find_systems(session: Session, args: NoArgs) -> FoundSystems:
    """Unmount everything, look at every filesystem, and describe the systems.

    A medium that one installs from counts only where nothing is installed. A subvolume within that of a system, and a
    snapshot that is not what its own fstab names, is a state that was, or a container's.
    """
    mounts.umount_all(session, args)
    candidates = filesystems()  # which puts together what can be
    search = _Search(session, candidates, incomplete(), time.monotonic() + _SEARCH_S)
    systems: list[FoundSystem] = []
    roots: list[Filesystem] = []
    for family in families(found for found in candidates if found.kind not in _NOT_MOUNTED):
        outside = [candidate for candidate in family if not is_within(candidate, roots)]
        for root, system in search.systems_of(outside):
            roots.append(root)
            systems.append(system)
    installed = [found for found in systems if found.system.format == "installed"]
    encrypted = [found.mountable for found in search.candidates if found.kind in ENCRYPTED]
    answer = FoundSystems(installed or systems, search.unread, encrypted)
    _remember(answer)
    return answer


@handles(procedures.INSPECT_OS)
def inspect_os(session: Session, args: NoArgs) -> list[str]:
    """Unmount everything, look at every filesystem, and return the roots of operating systems."""
    return [str(found.root) for found in find_systems(session, args).systems]
