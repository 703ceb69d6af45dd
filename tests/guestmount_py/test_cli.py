"""The command line: guestmount's options, their order, and one line for each mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from guestmount_py.cli import parse
from guestmount_py.config import GuestMount
from rpc.errors import UsageError

_MOUNT = ["-m", "/dev/sda1", "mnt"]


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "guestmount_py.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_formats_and_block_sizes_apply_to_the_images_that_follow() -> None:
    words = ["-a", "a", "--format=raw", "--blocksize=4096", "-a", "b", "--format", "-a", "c", "--blocksize", "-a", "d"]
    drives = parse([*words, *_MOUNT]).drives
    assert [(str(drive.path), drive.format, drive.blocksize_bytes) for drive in drives] == [
        ("a", None, None),
        ("b", "raw", 4096),
        ("c", None, 4096),
        ("d", None, None),
    ]


def test_mounts_keep_their_order_and_parts() -> None:
    config = parse(["-a", "a", "-m", "/dev/sda2", "-m", "/dev/sda1:/boot", "-m", "/dev/sdb:/b:noatime:vfat", "mnt"])
    assert config.mounts == (
        GuestMount("/dev/sda2"),
        GuestMount("/dev/sda1", b"/boot"),
        GuestMount("/dev/sdb", b"/b", "noatime", "vfat"),
    )
    assert [mount.read_only_options for mount in config.mounts] == ["ro", "ro", "ro,noatime"]


def test_subvolumes_are_mounted_by_the_names_that_list_has() -> None:
    config = parse(["-a", "a", "-m", "btrfsvol:/dev/vg/lv/@", "-m", "btrfsvol:/dev/sda1/a/b:/c:noatime", "mnt"])
    assert config.mounts == (
        GuestMount("btrfsvol:/dev/vg/lv/@"),
        GuestMount("btrfsvol:/dev/sda1/a/b", b"/c", "noatime"),
    )
    assert [mount.block_device for mount in config.mounts] == ["/dev/vg/lv", "/dev/sda1"]


def test_guest_is_mounted_read_only_whatever_its_options_say() -> None:
    config = parse(["-a", "a", "-m", "/dev/sda::rw", "-m", "/dev/sdb:/b:ro,rw,noatime", *_MOUNT[2:]])
    assert [mount.read_only_options for mount in config.mounts] == ["ro", "ro,noatime"]


def test_options_that_may_be_repeated_add_up() -> None:
    config = parse(["-a", "a", "-o", "allow_other,nonempty", "-o", "fsname=x", "-r", "-n", "--selinux", *_MOUNT])
    assert config.fuse_options == ("allow_other", "nonempty", "fsname=x")


def test_the_rest_is_taken() -> None:
    words = ["--add", "file:///a", "--no-fork", "--pid-file", "p", "--fd=3", "-v", "-x", "--dir-cache-timeout", "9"]
    config = parse([*words, *_MOUNT])
    assert config.drives[0].path == Path("/a")
    assert config.mountpoint == Path("mnt")
    assert (config.foreground, config.pid_file, config.ready_fd) == (True, Path("p"), 3)
    assert (config.verbose, config.trace, config.template) == (True, True, True)
    assert not parse(["-a", "a", "--no-template", *_MOUNT]).template
    assert (config.stats, config.plane) == (None, "auto")


def test_snapshot_belongs_to_the_images_behind_it() -> None:
    config = parse(["-a", "a", "--snapshot=s", "-a", "b", "--snapshot", "-a", "c", *_MOUNT])
    assert [drive.snapshot for drive in config.drives] == [None, "s", None]


@pytest.mark.parametrize("plane", ["auto", "qemu", "guest"])
def test_plane_and_statistics_are_taken(plane: str) -> None:
    config = parse(["-a", "a", "--plane", plane, "--stats=s.json", *_MOUNT])
    assert (config.plane, config.stats) == (plane, Path("s.json"))


def test_bound_of_the_caches_is_taken() -> None:
    assert parse(["-a", "a", *_MOUNT]).cache_mib == 256
    assert parse(["-a", "a", "--cache-mib=16", *_MOUNT]).cache_mib == 16


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["mnt"],
        ["-a", "a", "mnt"],
        ["-a", "a", "-m", "/dev/sda"],
        _MOUNT,
        ["-a", "a", "-m", "sda1", "mnt"],
        ["-a", "a", "-m", "", "mnt"],
        ["-a", "a", "-m", "btrfsvol:sda1/x", "mnt"],
        ["-a", "a", "-m", "btrfsvol:/dev/sda1", "mnt"],
        ["-a", "a", "-m", "btrfsvol:/dev/sda1/:/x", "mnt"],
        ["-a", "a", "-m", "/dev/sda:relative", "mnt"],
        ["-a", "gopher://host/a", *_MOUNT],
        ["-a", "a", "-o", "rw", *_MOUNT],
        ["-a", "a", "-o", "fsname=ä", *_MOUNT],
        ["-a", "a", "--blocksize=513", *_MOUNT],
        ["-a", "a", "--fd=x", *_MOUNT],
        ["-a", "a", "--nonsense", *_MOUNT],
        ["-a", "a", *_MOUNT, "another"],
        ["-a", "a", "--form=raw", *_MOUNT],
        ["-a", "a", "--plane=image", *_MOUNT],
        ["-a", "a", *_MOUNT, "--stats"],
        ["-a", "a", "--cache-mib=15", *_MOUNT],
        ["-a", "a", "--cache-mib=1.5", *_MOUNT],
        ["-a", "a", "--key=all", *_MOUNT],
        ["-a"],
    ],
)
def test_mistake_is_one_line_and_exit_status_2(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "words",
    [["--live"]],
)
def test_option_for_later_says_so(words: list[str]) -> None:
    with pytest.raises(UsageError, match="not supported yet"):
        parse(["-a", "a", *words, *_MOUNT])


def test_program_reports_a_mistake_on_standard_error_only() -> None:
    done = _run("-a", "a", "mnt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("guestmount-py: nothing to mount")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("word", ["--help", "--version", "-V", "--fuse-help"])
def test_program_explains_itself_on_standard_output(word: str) -> None:
    done = _run(word)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_help_tells_the_exit_statuses() -> None:
    assert "Exit status: 0" in _run("--help").stdout


def test_mistake_is_found_before_anything_heavy_is_imported() -> None:
    code = "import sys; from guestmount_py import cli; sys.exit('pyfuse3' in sys.modules or 'trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        *(("/dev/sda", True), ("/dev/sda1", True), ("/dev/xvdz12", True), ("/dev/vdata/root", False)),
        *(("btrfsvol:/dev/sda1/@", True), ("btrfsvol:/dev/vg/lv/@:/home", False)),
        *(("/dev/hdd/lv", False), ("/dev/mapper/sda", False), ("/dev/md127", False), ("/dev/sd/a", False)),
    ],
)
def test_disk_is_told_from_a_volume_of_a_group_that_is_called_alike(device: str, expected: bool) -> None:
    assert GuestMount.parse(device).is_on_disk is expected
