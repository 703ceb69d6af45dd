"""Which of the systems found ``--root`` means, and what of a system is mounted in which order; without a machine."""

from typing import cast

import pytest

from guestmount_py.config import GuestMount
from guestmount_py.handle import Guest
from guestmount_py.inspection import GuestSystem, chosen_system
from rpc.errors import GuestmountError, RemoteProtocolError

ONE = GuestSystem("/dev/sda1", "Debian", [("/", "/dev/sda1")], [])
TWO = GuestSystem("btrfsvol:/dev/sdb1/@", "openSUSE", [("/", "btrfsvol:/dev/sdb1/@")], [])
NOBODY = cast("Guest", None)
"""A guest that is not asked."""


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("first", ONE), ("1", ONE), ("2", TWO), ("/dev/sda1", ONE), ("btrfsvol:/dev/sdb1/@", TWO)],
)
async def test_one_of_two(wanted: str, expected: GuestSystem) -> None:
    assert await chosen_system(NOBODY, [ONE, TWO], wanted) is expected


@pytest.mark.parametrize("wanted", [None, "first", "single", "1"])
async def test_the_only_one(wanted: str | None) -> None:
    assert await chosen_system(NOBODY, [ONE], wanted) is ONE


@pytest.mark.parametrize("wanted", [None, "single", "0", "3", "²", "/dev/sdb1", ""])
async def test_none_of_two(wanted: str | None) -> None:
    with pytest.raises(GuestmountError) as caught:
        await chosen_system(NOBODY, [ONE, TWO], wanted)
    assert "1: /dev/sda1 (Debian); 2: btrfsvol:/dev/sdb1/@ (openSUSE)" in str(caught.value)
    assert caught.value.exit_code == 1


def test_mounts_come_after_what_they_are_in() -> None:
    pairs = [("/var/log", "c"), ("/boot/efi", "b"), ("/", "r"), ("/boot", "a"), ("/var", "d")]
    assert GuestSystem("r", "", pairs, []).mounts() == [
        GuestMount("r"),
        GuestMount("a", b"/boot", is_optional=True),
        GuestMount("d", b"/var", is_optional=True),
        GuestMount("c", b"/var/log", is_optional=True),
        GuestMount("b", b"/boot/efi", is_optional=True),
    ]


@pytest.mark.parametrize("place", ["", "boot", "/a\0b"])
def test_places_that_are_none_are_refused(place: str) -> None:
    with pytest.raises(RemoteProtocolError):
        GuestSystem("r", "", [("/", "r"), (place, "a")], []).mounts()
