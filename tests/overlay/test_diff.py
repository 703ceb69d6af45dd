"""diff names every file that differs, how it does, and no other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from appliance.image_use import check_unused
from tests.guests.cache import run
from tests.guests.disk import create_disk, loop_device
from tests.overlay.conftest import Place
from tests.overlay.disk import FILESYSTEMS, exported, opened, overlay_program, writing

pytestmark = [pytest.mark.appliance, pytest.mark.root, pytest.mark.usefixtures("appliance_files")]


def _replace(path: Path, content: bytes) -> None:
    path.with_name("temporary").write_bytes(content)
    path.with_name("temporary").rename(path)


def _rewrite_with_old_times(path: Path) -> None:
    """Change a byte so that length and times of modification stay: only the time of change tells."""
    before = path.stat()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def _to_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _make_tree(root: Path) -> None:
    (root / "new").mkdir()
    (root / "new/file").write_text("new")
    (root / "new/link").symlink_to("file")
    os.mkfifo(root / "new/fifo")


def _make_and_remove(root: Path) -> None:
    (root / "undone").touch()
    (root / "undone").unlink()


_DEEDS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "content": (lambda root: _rewrite_with_old_times(root / "etc/passwd"), ["changed\tcontent\t/etc/passwd"]),
    "copied back": (
        lambda root: _replace(root / "etc/same", (root / "etc/same").read_bytes()),
        ["changed\ttimes\t/etc/same"],
    ),
    "mode": (lambda root: (root / "etc/mode").chmod(0o4711), ["changed\tmode\t/etc/mode"]),
    "owner": (lambda root: os.chown(root / "etc/hostname", 5, 6), ["changed\towner\t/etc/hostname"]),
    "times": (lambda root: os.utime(root / "etc/touched", (1, 1)), ["changed\ttimes\t/etc/touched"]),
    "xattrs": (lambda root: os.setxattr(root / "etc/xattrs", "user.a", b"\0"), ["changed\txattrs\t/etc/xattrs"]),
    "target": (lambda root: _to_link(root / "etc/link", "passwd"), ["changed\ttarget,times\t/etc/link"]),
    "type": (
        lambda root: _to_directory(root / "etc/type"),
        ["changed\ttype\t/etc/type", "added\tfile\t/etc/type/inside"],
    ),
    "odd name": (
        lambda root: (root / "etc/name with \n and \\").write_text("other"),
        ["changed\tcontent,times\t/etc/name with \\012 and \\134"],
    ),
    "removed": (
        lambda root: run("rm", "-r", root / "gone"),
        ["removed\tdirectory\t/gone", "removed\tdirectory\t/gone/deep", "removed\tfile\t/gone/deep/file"],
    ),
    "added": (
        _make_tree,
        ["added\tdirectory\t/new", "added\tfifo\t/new/fifo", "added\tfile\t/new/file", "added\tsymlink\t/new/link"],
    ),
    "root": (lambda root: root.chmod(0o700), ["changed\tmode\t/"]),
    "read": (lambda root: (root / "etc/passwd").read_bytes(), []),
    "undone": (_make_and_remove, []),
}


def _sorted(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: line.split("\t")[2].split("/"))


@pytest.mark.parametrize("number", range(1, 4), ids=FILESYSTEMS)
async def test_each_change_is_named(guests: Place, number: int) -> None:
    """All that can be done at once is done at once: a launch takes longer than a comparison."""
    await guests.create()
    with writing(guests.overlay, number, guests.directory) as root:
        for deed, _ in _DEEDS.values():
            deed(root)
    expected = [line for _, lines in _DEEDS.values() for line in lines]
    done = overlay_program("diff", "-m", f"/dev/sda{number}", guests.overlay)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == _sorted(expected)


async def test_filesystems_are_told_apart(guests: Place) -> None:
    await guests.create()
    for number in (1, 3):
        with writing(guests.overlay, number, guests.directory) as root:
            _replace(root / "etc/passwd", b"other")
    done = overlay_program("diff", guests.overlay)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"changed\tcontent,times\t/dev/sda{number}:/etc/passwd" for number in (1, 3)]


async def test_several_mounts_are_one_tree(guests: Place) -> None:
    await guests.create()
    for number in (1, 2):
        with writing(guests.overlay, number, guests.directory) as root:
            (root / "etc/mode").chmod(0o600)
    done = overlay_program("diff", "--null", "-m", "/dev/sda1", "-m", "/dev/sda2:/usr/share", guests.overlay)
    assert done.stderr == ""
    assert done.stdout.split("\0") == ["changed\tmode\t/etc/mode", "changed\tmode\t/usr/share/etc/mode", ""]


async def test_empty_overlay_has_no_changes(guests: Place) -> None:
    await guests.create()
    done = overlay_program("diff", guests.overlay)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_filesystem_without_times_of_change_is_compared_byte_by_byte(place: Place) -> None:
    raw, base = place.directory / "fat.raw", place.directory / "fat.qcow2"
    create_disk(raw, [33])
    with loop_device(raw, 1, read_only=False) as device:
        run("mkfs.vfat", device)
    file = place.directory / "file"
    file.write_bytes(bytes(100_000))
    os.utime(file, (10**9, 10**9))
    run("mcopy", "-m", "-i", f"{raw}@@1M", file, "::first")
    run("mcopy", "-m", "-i", f"{raw}@@1M", file, "::second")
    run("qemu-img", "convert", "-O", "qcow2", raw, base)
    fat = Place(place.directory, base, place.overlay)
    await fat.create()
    _rewrite_with_old_times(file)
    with exported(fat.overlay, fat.directory) as disk:
        run("mcopy", "-o", "-m", "-i", f"{disk}@@1M", file, "::second")
    done = overlay_program("diff", fat.overlay)
    assert (done.returncode, done.stdout, done.stderr) == (0, "changed\tcontent\t/dev/sda1:/second\n", "")


async def test_filesystem_that_was_made_anew_is_told(guests: Place) -> None:
    await guests.create()
    guests.write("write -z 1M 48M")
    done = overlay_program("diff", guests.overlay)
    assert done.returncode == 0
    assert "/dev/sda1: was ext4, is " in done.stderr


async def test_overlay_in_use_is_refused(guests: Place) -> None:
    await guests.create()
    with opened(guests.overlay) as pid:
        done = overlay_program("diff", guests.overlay)
    assert done.returncode == 1
    assert f"overlay.qcow2: is in use by process {pid}" in done.stderr


@pytest.mark.parametrize("after_s", [0, 0.5, 1.5])
async def test_interrupted_diff_leaves_nothing(guests: Place, after_s: float) -> None:
    await guests.create()
    status, said = await trio.to_thread.run_sync(_interrupted_diff, guests.overlay, after_s)
    assert (status, said) in ((130, f"guestmount-py: {guests.overlay}: interrupted\n"), (0, ""))
    check_unused(guests.overlay)


def _interrupted_diff(overlay: Path, after_s: float) -> tuple[int, str]:
    command = [sys.executable, "-m", "guestmount_py.overlay_cli", "diff", str(overlay)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not _has_begun(process.pid):  # until then Python itself says that it was interrupted
            time.sleep(0.01)
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    return process.returncode, said


def _has_begun(pid: int) -> bool:
    """Tell whether a program runs trio, or has ended."""
    with suppress(OSError):
        links = [os.fspath(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return not links or "anon_inode:[eventpoll]" in links
    return False


async def test_device_that_is_not_there_is_one_clear_line(guests: Place) -> None:
    await guests.create()
    done = overlay_program("diff", "-m", "/dev/sda9", guests.overlay)
    assert done.returncode == 1
    assert done.stderr.startswith("guestmount-py: cannot mount /dev/sda9: ")
    assert done.stderr.count("\n") == 1
