"""Which places show what is mounted elsewhere."""

import pytest

from guestmount_py.config import GuestMount
from guestmount_py.repeated_subvolumes import Shown, repeated

ROOT = Shown(b"", b"/@/.snapshots/1/snapshot")
SNAPSHOTS = Shown(b"/.snapshots", b"/@/.snapshots")
HOME = Shown(b"/home", b"/@/home")
WHOLE = Shown(b"/top", b"")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([ROOT, SNAPSHOTS, HOME], [b"/.snapshots/1/snapshot"]),
        ([ROOT, HOME, WHOLE], [b"/top/@/.snapshots/1/snapshot", b"/top/@/home"]),
        ([ROOT, SNAPSHOTS, WHOLE], [b"/top/@/.snapshots", b"/.snapshots/1/snapshot"]),
        ([Shown(b"", b"/@"), Shown(b"/home", b"/@/home")], []),
        ([Shown(b"", b""), Shown(b"/home", b"/home")], []),
        ([Shown(b"", b"/@"), Shown(b"/home", b"/@home")], []),
    ],
)
def test_what_is_shown_twice_is_found(shown: list[Shown], expected: list[bytes]) -> None:
    assert repeated(shown, [each.place for each in shown]) == expected


def test_what_another_mount_hides_is_not_shown() -> None:
    assert repeated([ROOT, SNAPSHOTS], [b"", b"/.snapshots", b"/.snapshots/1"]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/sda1", None),
        ("/dev/sda1:/:ro,subvol=/a/b", "a/b"),
        ("/dev/sda1:/:subvol=/", "/"),
        ("/dev/sda1:/:subvolid=5", "/"),
        ("btrfsvol:/dev/sda1/a/b", "a/b"),
    ],
)
def test_subvolume_that_a_mount_shows(text: str, expected: str | None) -> None:
    assert GuestMount.parse(text).subvolume == expected
