"""guestunmount-py: what it waits for, and its exit status."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestmount_py import unmount as guestunmount
from guestmount_py.serving import find_mount, runtime_directory
from tests.mount.conftest import mounted


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"file")
    return tmp_path / "source"


def _run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "guestmount_py.unmount", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_unmounted_returns_0_when_the_server_has_gone(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as served:
        done = _run("-v", served.path)
        assert done.returncode == guestunmount.UNMOUNTED
        assert not os.path.ismount(served.path)
        assert not Path(f"/proc/{served.server.pid}/fd/0").exists()  # a zombie of ours has no descriptors
        for daemon in served.daemons:
            assert not Path(f"/proc/{daemon}").exists()


def test_symlink_to_the_mountpoint_unmounts(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as served:
        (tmp_path / "symlink").symlink_to(served.path)
        assert _run(tmp_path / "symlink").returncode == guestunmount.UNMOUNTED
        assert not os.path.ismount(served.path)


def test_not_mounted_returns_3(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == guestunmount.NOT_MOUNTED
    assert done.stderr == f"guestunmount-py: {tmp_path}: not mounted\n"
    assert _run("-q", tmp_path).stderr == ""


def test_busy_returns_2_and_names_who_holds_it(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as served:
        with (served.path / "file").open("rb"):
            done = _run("--no-retry", served.path)
        assert done.returncode == guestunmount.STILL_MOUNTED
        assert f"in use by process {os.getpid()}" in done.stderr
        assert done.stderr.count("\n") == 1


def test_retries_until_it_is_free(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as served:
        holder = subprocess.Popen(
            ["sh", "-c", f"exec <'{served.path}/file'; read line; sleep 0.4"], stdin=subprocess.PIPE
        )
        done = _run("-v", "--retry=6", served.path)
        holder.communicate(timeout=5)
        assert done.returncode == guestunmount.UNMOUNTED


@pytest.mark.parametrize("words", [["--retry=x", "/"], ["--nonsense", "/"], []])
def test_usage_error_returns_1_with_one_line(words: list[str]) -> None:
    done = _run(*words)
    assert done.returncode == guestunmount.FAILED
    assert done.stderr.startswith("guestunmount-py: ")
    assert done.stderr.count("\n") == 1


def test_fd_is_waited_for(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as served:
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "guestmount_py.unmount", f"--fd={write_end}", str(served.path)]
        process = subprocess.Popen(command, pass_fds=[write_end])
        os.close(write_end)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert os.path.ismount(served.path)
        os.close(read_end)
        assert process.wait(30) == 0


def test_record_of_a_mount_that_is_ending_does_not_stop_the_next(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives a device number away again while the last mount's process still sees its appliance off."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for attempt in range(20):  # another test's mount may be given the number
        with _numbered_mount(source, tmp_path / f"{attempt} first") as number:
            path = runtime_directory() / f"mount-{number}"
            assert path.exists()
        path.write_text("left behind")
        with path.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with _numbered_mount(source, tmp_path / f"{attempt} second") as second:
                pass
        if second == number:
            assert not path.exists()
            return
        path.unlink()
    pytest.fail("no mount was given the number of the one before it")


@contextmanager
def _numbered_mount(source: Path, scratch: Path) -> Iterator[str]:
    scratch.mkdir()
    with mounted(source, scratch) as served:
        assert (served.path / "file").read_bytes() == b"file"
        mount = find_mount(served.path)
        assert mount is not None
        yield mount.number


def test_killed_server_leaves_an_error_not_an_empty_directory(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path, exit_status=-signal.SIGKILL) as served:
        served.server.kill()
        served.server.wait()
        assert find_mount(served.path) is not None
        with pytest.raises(OSError, match="not connected"):
            list(served.path.iterdir())
    assert find_mount(served.path) is None


def test_aborted_connection_leaves_no_mount(source: Path, tmp_path: Path) -> None:
    """libfuse would take it for unmounted."""
    connections = tmp_path / "connections"
    connections.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", connections], check=True)
    try:
        with mounted(source, tmp_path) as served:
            number = os.minor(served.path.stat().st_dev)
            (connections / str(number) / "abort").write_text("1")
            assert served.server.wait(30) == 0
            assert find_mount(served.path) is None
    finally:
        subprocess.run(["umount", connections], check=True)
