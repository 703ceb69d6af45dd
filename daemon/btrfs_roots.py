"""Which subvolumes of a btrfs are the same system at several times, and which of them its fstab means."""

from collections.abc import Iterable, Iterator, Sequence

from daemon.filesystems import Filesystem
from daemon.fstab import Entry
from rpc.mountables import SUBVOLUME, TOP_LEVEL, TOP_LEVEL_ID, mountable_of, volume_of


def families(candidates: Iterable[Filesystem]) -> list[list[Filesystem]]:
    """Put each subvolume together with its snapshots and theirs; anything else is alone.

    In each family the one that is mounted when none is named comes first, then those that are no snapshots. A btrfs
    that is on several devices is taken from the first of them.
    """
    kept = list(_once(candidates))
    above: dict[tuple[str, str], tuple[str, str]] = {}

    def eldest(key: tuple[str, str]) -> tuple[str, str]:
        while key in above:
            key = above[key]
        return key

    found: dict[tuple[str, str], list[Filesystem]] = {}
    for candidate in kept:
        device, row = volume_of(candidate.mountable).device, candidate.subvolume
        if row is not None and candidate.is_snapshot:
            own, other = eldest((device, row.uuid)), eldest((device, row.parent_uuid))
            if own != other:
                above[own] = other
    for candidate in kept:
        device, row = volume_of(candidate.mountable).device, candidate.subvolume
        key = (device, row.uuid) if row is not None and row.uuid else (candidate.mountable, "")
        found.setdefault(eldest(key), []).append(candidate)
    return [sorted(family, key=_rank) for family in found.values()]


def _once(candidates: Iterable[Filesystem]) -> Iterator[Filesystem]:
    """Leave out all devices of a btrfs but the first; a clone has the same identity as what it was made of."""
    first: dict[str, str] = {}
    for candidate in candidates:
        tags = candidate.tags
        part = tags.get("UUID_SUB", "") if candidate.kind == "btrfs" else ""
        if not part or first.setdefault(tags.get("UUID", ""), part) == part:
            yield candidate


def _rank(candidate: Filesystem) -> tuple[bool, bool]:
    return candidate.mountable.startswith(SUBVOLUME), candidate.is_snapshot


def is_within(candidate: Filesystem, others: Iterable[Filesystem]) -> bool:
    """Tell whether a subvolume is below another one's directory, which is not that of all subvolumes."""
    device, row = volume_of(candidate.mountable).device, candidate.subvolume
    for other in others:
        if row is None or other.subvolume is None or volume_of(other.mountable).device != device:
            continue
        if row.path.startswith(f"{other.subvolume.path}/"):
            return True
    return False


def mountable_of_entry(device: str, entry: Entry, candidates: Sequence[Filesystem]) -> str:
    """Return what an entry of fstab mounts of a device."""
    rows = {
        found.subvolume.number: found.subvolume
        for found in candidates
        if found.subvolume is not None and volume_of(found.mountable).device == device
    }
    if not rows:
        return device
    default = next(iter(rows.values())).path
    path = entry.subvolume
    if not path and any(word.startswith("subvol=") for word in entry.options):
        path = TOP_LEVEL
    if not path and entry.subvolume_number:
        number = entry.subvolume_number
        path = TOP_LEVEL if number == TOP_LEVEL_ID else rows[number].path if number in rows else ""
    return device if path in ("", default) else mountable_of(device, path)
