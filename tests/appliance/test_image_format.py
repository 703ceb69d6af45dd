"""Formats that are found out, and images that could lead elsewhere."""

import os
from pathlib import Path

import pytest

from appliance.image_format import guess_format
from rpc.errors import DriveError
from tests.guests.cache import run

_TEXT = """\
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID={parent}
createType="monolithicFlat"
{extent}
"""


def _descriptor(directory: Path, extent: str = 'RW 8 FLAT "disk-flat.vmdk" 0', parent: str = "ffffffff") -> Path:
    path = directory / "disk.vmdk"
    path.write_text(_TEXT.format(extent=extent, parent=parent))
    return path


def test_descriptor_whose_extents_lie_beside_it_is_taken(tmp_path: Path) -> None:
    assert guess_format(_descriptor(tmp_path)) == "vmdk"
    assert guess_format(_descriptor(tmp_path, 'RW 8 SPARSE "a (1).vmdk"\nRW 8 SPARSE "a (2).vmdk"')) == "vmdk"


@pytest.mark.parametrize(
    "extent",
    [
        'RW 8 FLAT "/etc/shadow" 0',
        'RW 8 FLAT "../disk" 0',
        'RW 8 FLAT "nbd:host:1" 0',
        'RW 8 FLAT "json:{}" 0',
        'RW\t8 FLAT "/etc/shadow" 0',
        '  RW 8 FLAT "/etc/shadow" 0',
        'RW 8 FLAT "good" 0\nRDONLY 8 FLAT "/etc/shadow" 0',
        'parentFileNameHint="/etc/shadow"\nRW 8 FLAT "good" 0',
        "",
    ],
)
def test_descriptor_that_leads_elsewhere_is_refused(tmp_path: Path, extent: str) -> None:
    with pytest.raises(DriveError, match="names other files"):
        guess_format(_descriptor(tmp_path, extent))


def test_descriptor_with_a_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="names other files"):
        guess_format(_descriptor(tmp_path, parent="12345678"))


def test_disk_that_a_guest_made_look_like_a_descriptor_is_refused(tmp_path: Path) -> None:
    path = _descriptor(tmp_path)
    with path.open("r+b") as file:
        file.truncate(1 << 20)
    with pytest.raises(DriveError, match="names other files"):
        guess_format(path)


@pytest.mark.parametrize("kind", ["qcow", "qed"])
def test_old_format_with_a_backing_file_is_refused(tmp_path: Path, kind: str) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    base.write_bytes(os.urandom(1 << 20))
    run("qemu-img", "create", "-q", "-f", kind, tmp_path / "alone", "1M")
    assert guess_format(tmp_path / "alone") == kind
    run("qemu-img", "create", "-q", "-f", kind, "-b", base, "-F", "raw", top)
    with pytest.raises(DriveError, match=f"pass --format={kind}"):
        guess_format(top)
