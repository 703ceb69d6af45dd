"""Devices, volumes and subvolumes by their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.mountables import Volume, mapping_of_volume, mountable_of, volume_of, volume_of_mapping

NAMES = st.text("ab-._+", min_size=1).filter(lambda name: not name.startswith("-") and not name.endswith("-"))
"""LVM lets a name begin with a dash only."""


@pytest.mark.parametrize(
    ("mountable", "device", "subvolume"),
    [
        ("/dev/sda1", "/dev/sda1", ""),
        ("btrfsvol:/dev/sda2/a/b", "/dev/sda2", "a/b"),
        ("btrfsvol:/dev/sdab/@", "/dev/sdab", "@"),
        ("btrfsvol:/dev/sda2//", "/dev/sda2", "/"),
        ("btrfsvol:/dev/sda2/a\nb", "/dev/sda2", "a\nb"),
        ("btrfsvol:/dev/mapper/x/a", "/dev/mapper/x", "a"),
        ("btrfsvol:/dev/mapper/luks-0a/a/b", "/dev/mapper/luks-0a", "a/b"),
        ("btrfsvol:/dev/vg/lv/a/b", "/dev/vg/lv", "a/b"),
        ("btrfsvol:/dev/sdata/lv/a", "/dev/sdata/lv", "a"),
        ("btrfsvol:/dev/md127p1/a", "/dev/md127p1", "a"),
        ("btrfsvol:/dev/md/array/a", "/dev/md/array", "a"),
        ("btrfsvol:/dev/disk/guestfs/label1/a", "/dev/disk/guestfs/label1", "a"),
    ],
)
def test_subvolume_is_what_follows_the_device(mountable: str, device: str, subvolume: str) -> None:
    assert volume_of(mountable) == Volume(device, subvolume)
    assert mountable_of(device, subvolume) == mountable


def test_subvolume_without_a_name_is_none() -> None:
    assert volume_of("btrfsvol:/dev/sda2") == volume_of("btrfsvol:/dev/sda2/")._replace(device="/dev/sda2")


@given(NAMES, NAMES)
def test_volume_is_found_by_its_mapping(group: str, volume: str) -> None:
    assert volume_of_mapping(mapping_of_volume(group, volume)) == (group, volume)


@pytest.mark.parametrize("name", ["luks", "a-b-c", "a--b"])
def test_other_mappings_are_no_volumes(name: str) -> None:
    assert volume_of_mapping(name) is None
