"""The command line's process: what it says, with which status, and what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*words: str | Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "guestmount_py.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **env})


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    image, mountpoint = tmp_path / "disk.img", tmp_path / "mnt"
    image.write_bytes(bytes(1 << 20))
    mountpoint.mkdir()
    return ["--format=raw", "-a", image, "-m", "/dev/sda", mountpoint]


@pytest.mark.parametrize("option", [[], ["--no-fork"]])
def test_missing_image_is_one_line_from_parent_or_foreground(
    tmp_path: Path, env: dict[str, str], option: list[str]
) -> None:
    (tmp_path / "mnt").mkdir()
    done = _run("-a", tmp_path / "none.img", "-m", "/dev/sda", *option, tmp_path / "mnt", env=env)
    assert done.returncode == 1
    assert done.stderr == f"guestmount-py: {tmp_path}/none.img: no such image: check the name given to -a\n"
    assert done.stdout == ""


def test_failure_is_in_the_log_too_which_is_private(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "mnt").mkdir()
    _run("-a", tmp_path / "none.img", "-m", "/dev/sda", tmp_path / "mnt", env=env)
    (log,) = (tmp_path / "state" / "guestmount-py").iterdir()
    assert log.name.startswith("mnt-")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "no such image" in log.read_text()


def test_verbose_names_the_log(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "mnt").mkdir()
    done = _run("-v", "-a", tmp_path / "none.img", "-m", "/dev/sda", tmp_path / "mnt", env=env)
    assert f"the log of this mount is {tmp_path}/state/guestmount-py/mnt-" in done.stderr


def test_mountpoint_that_does_not_exist_is_one_line(tmp_path: Path, env: dict[str, str]) -> None:
    done = _run("-a", tmp_path / "none.img", "-m", "/dev/sda", tmp_path / "nowhere", env=env)
    assert done.returncode == 1
    assert done.stderr == f"guestmount-py: {tmp_path}/nowhere: no such directory: create it first\n"


@pytest.mark.parametrize("option", ["--pid-file", "--stats"])
def test_file_that_cannot_be_written_is_found_at_once(
    option: str, words: list[str | Path], env: dict[str, str]
) -> None:
    done = _run(option, "/nowhere/pid", *words, env=env)
    assert done.returncode == 2
    assert f"{option} /nowhere/pid: cannot be written" in done.stderr


def test_descriptor_that_is_not_open_is_found_at_once(words: list[str | Path], env: dict[str, str]) -> None:
    done = _run("--fd=77", *words, env=env)
    assert done.returncode == 2
    assert "--fd 77: not open" in done.stderr


def test_log_that_cannot_be_made_is_one_line(words: list[str | Path]) -> None:
    done = _run(*words, env={"XDG_STATE_HOME": "/proc/nowhere"})
    assert done.returncode == 1
    assert done.stderr.startswith("guestmount-py: no log in /proc/nowhere/guestmount-py")
    assert done.stderr.count("\n") == 1


def test_qemu_that_is_missing_is_one_line(words: list[str | Path], env: dict[str, str], tmp_path: Path) -> None:
    for name in ("kernel", "initrd", "root", "README.fixed"):
        (tmp_path / name).write_bytes(bytes(0x438) + b"\x53\xef" + bytes(4096))
    done = _run(*words, env={**env, "LIBGUESTFS_PATH": str(tmp_path), "LIBGUESTFS_HV": "/nowhere/qemu"})
    assert done.returncode == 1
    assert "qemu" in done.stderr
    assert done.stderr.count("\n") == 1
