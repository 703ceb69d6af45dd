"""Raw disks in parts."""

import os
from pathlib import Path

import pytest

from appliance.config import Drive
from appliance.drives import CheckedDrive, check_drive
from rpc.errors import DriveError


async def _checked(directory: Path, *sizes: tuple[str, int]) -> CheckedDrive:
    for name, size in sizes:
        (directory / name).write_bytes(os.urandom(size))
    return await check_drive(Drive(path=directory / sizes[0][0], format="split"))


@pytest.mark.parametrize(
    "names",
    [
        ("disk.001", "disk.002", "disk.003"),
        ("disk.000", "disk.001"),
        ("disk0", "disk1"),
        ("x.img.aa", "x.img.ab", "x.img.ac"),
        ("xaa", "xab"),
        ("disk.raw.1",),
    ],
)
async def test_parts_come_in_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    for other in ("disk.txt", "disk.0011", "x.img.md5"):
        (tmp_path / other).touch()
    checked = await _checked(tmp_path, *((name, 512 * number) for number, name in enumerate(names, 1)))
    assert [state.path.name for state in checked.files] == list(names)
    assert checked.size_bytes == 512 * sum(range(len(names) + 1))
    lines = [line for line in (checked.text or "").splitlines() if line.startswith("RW")]
    assert lines == [f'RW {number} FLAT "{tmp_path / name}" 0' for number, name in enumerate(names, 1)]


async def test_hundredth_part_follows_the_ninety_ninth(tmp_path: Path) -> None:
    names = [f"d.{number:03}" for number in range(1, 121)]
    checked = await _checked(tmp_path, *((name, 512) for name in names))
    assert [state.path.name for state in checked.files] == names


@pytest.mark.parametrize(("pattern", "count"), [("disk.{}", 12), ("disk.{:02}", 120), ("disk.{:03}", 1002)])
async def test_no_part_is_left_out_where_numbers_become_longer(tmp_path: Path, pattern: str, count: int) -> None:
    names = [pattern.format(number) for number in range(1, count + 1)]
    checked = await _checked(tmp_path, *((name, 512) for name in names))
    assert [state.path.name for state in checked.files] == names


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        (
            [("x00", 512), *((f"x{number:02}", 512) for number in range(1, 90)), ("x9000", 512)],
            "is missing between x89",
        ),
        ([("xaa", 512), ("xab", 512), ("xzaaa", 512)], "go on with zaaa"),
        ([("d.001", 512), ("d.003", 512)], "is missing between d.001 and d.003"),
        ([("d.001", 512), ("d.002", 500)], "was it cut short"),
        ([("d.001", 500), ("d.002", 512)], "join the parts"),
        ([("d.002", 512)], "wants the first part"),
        ([("disk.img", 512)], "wants the first part"),
        ([("d.001", 512), ("d.002", 0)], "is empty"),
    ],
)
async def test_what_is_no_whole_disk_is_one_line(tmp_path: Path, sizes: list[tuple[str, int]], reason: str) -> None:
    with pytest.raises(DriveError, match=reason) as caught:
        await _checked(tmp_path, *sizes)
    assert "\n" not in str(caught.value)


async def test_name_that_a_descriptor_cannot_hold_is_refused(tmp_path: Path) -> None:
    for name in ('a"b', "a\nb"):
        directory = tmp_path / name
        directory.mkdir()
        with pytest.raises(DriveError, match="symlink"):
            await _checked(directory, ("d.001", 512))
