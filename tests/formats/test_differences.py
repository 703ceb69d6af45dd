"""A difference has a reason only as it was written down."""

import pytest

from tests.formats.differences import ALL, REASONS, Difference, differences, reason_of
from tests.guests.results import load


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        (Difference("filesystem", "/dev/sda", "Size", "100", "200"), "size"),
        (Difference("filesystem", "/dev/sda", "Size", "300", "200"), None),
        (Difference("filesystem", "/dev/sda", "UUID", "a", "b"), None),
        (Difference("partition", "/dev/sda1", "UUID", "", "b"), "table"),
        (Difference("partition", "/dev/sda1", "UUID", "a", "b"), None),
        (Difference("partition", "/dev/sda1", "MBR", "83", "0x83"), "type"),
        (Difference("partition", "/dev/sda1", "MBR", "83", "0x82"), None),
        (Difference("vg", "x", "Name", "/dev/x", "x"), "group"),
        (Difference("vg", "x", "Name", "/dev/x", "y"), None),
        (Difference("pv", "/dev/sda", "UUID", "abcd", "ab-cd"), "hyphens"),
        (Difference("pv", "/dev/sda", "UUID", "abcd", "ab-ce"), None),
        (Difference("filesystem", "/dev/md127", "Parent", "/dev/sda,/dev/sdb", ""), "array"),
        (Difference("filesystem", "/dev/sda", "Parent", "/dev/sdb", ""), None),
        (Difference("filesystem", "btrfsvol:/dev/sda/x", "Parent", "", "/dev/sda"), "subvolume"),
        (Difference("filesystem", "/dev/mapper/vg-lv_rimage_0", ALL, "listed", ""), "inner"),
        (Difference("filesystem", "/dev/mapper/vg-lv", ALL, "listed", ""), None),
        (Difference("filesystem", "/dev/mapper/vg-lv1", ALL, "", "listed"), "nested"),
        (Difference("filesystem", "/dev/mapper/vg-lv", ALL, "", "listed"), None),
        (Difference("system", "/dev/sda1", "Label", "12.5", "Debian GNU/Linux 12"), "title"),
        (Difference("system", "/dev/sda1", "Label", "Fedora 38", "Debian GNU/Linux 12"), None),
        (Difference("system", "btrfsvol:/dev/sda1/snapshot", ALL, "listed", ""), "snapshot"),
        (Difference("system", "/dev/sda1", ALL, "listed", ""), None),
        (Difference("array", "/dev/md127", ALL, "", "listed"), "more"),
        (Difference("filesystem", "/dev/md127", ALL, "", "listed"), None),
        (Difference("filesystem", "/dev/md127", ALL, "listed", ""), None),
    ],
)
def test_only_what_is_as_the_reason_says_has_it(difference: Difference, reason: str | None) -> None:
    assert reason_of(difference) == reason


def test_what_only_one_lists_differs_and_so_does_each_field() -> None:
    theirs = {("pv", "a"): {"Size": "1", "UUID": "x"}, ("pv", "b"): {"Size": "1"}}
    ours = {("pv", "a"): {"Size": "2", "UUID": "x", "More": "y"}, ("lv", "c"): {"Size": "1"}}
    assert list(differences(theirs, ours)) == [
        Difference("lv", "c", ALL, "", "listed"),
        Difference("pv", "a", "Size", "1", "2"),
        Difference("pv", "b", ALL, "listed", ""),
    ]


def test_every_reason_was_needed_for_some_guest() -> None:
    cells = [cells["list"] for rows in load().values() for cells in rows.values() if "list" in cells]
    assert {reason for cell in cells for reason in cell.partition("(")[0].split()} == REASONS.keys()
