"""The build as its users meet it: another account, no sudo, an empty cache, a full disk."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

from appliance.cache import files_in
from appliance.config import Drive, config_from_environment
from appliance.launch import launch
from appliance.locate import find_appliance

if TYPE_CHECKING:
    Process = subprocess.Popen[str]

NOBODY: Final = 65534
BUILD_S: Final = 900
_CODE: Final = ("appliance", "daemon", "rpc", "xdrlib3")
_TRIO: Final = ("trio", "attr", "attrs", "idna", "outcome", "sniffio", "sortedcontainers")
_AS_ROOT: Final = os.geteuid() == 0
needs_root = pytest.mark.skipif(not _AS_ROOT, reason="not root: a small file system is mounted to be filled")


class OrdinaryUser:
    """Someone who may not become root, with the program installed and a cache of their own.

    Attributes:
        directory: theirs.
        cache: what LIBGUESTFS_CACHEDIR names.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cache = directory / "cache"
        self.cache.mkdir()
        for name in (*_CODE, *_TRIO):
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            shutil.copytree(
                Path(spec.origin).parent, directory / "code" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.give(directory)

    def give(self, *paths: Path) -> None:
        """Make paths the user's, with all below them."""
        if _AS_ROOT:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", *paths], check=True)

    def start(self, *arguments: str | Path, cache: Path | None = None) -> "Process":
        """Start ``python -m appliance`` as that user; its messages go to standard error."""
        become = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] if _AS_ROOT else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON"))}
        environment |= {
            "HOME": str(self.directory),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(self.directory / "code"),
            "LIBGUESTFS_CACHEDIR": str(cache or self.cache),
        }
        environment.pop("LIBGUESTFS_PATH", None)
        return subprocess.Popen(
            ["setpriv", "--no-new-privs", *become, "/usr/bin/python3", "-m", "appliance", *arguments],
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, cache: Path | None = None) -> tuple[int, str, str]:
        """Run ``python -m appliance`` to its end; return status, output and messages."""
        with self.start(*arguments, cache=cache) as process:
            output, messages = process.communicate(timeout=BUILD_S)
        return process.returncode, output, messages

    def cached(self) -> list[str]:
        """Return what the cache holds, sorted by name."""
        return sorted(path.name for path in (self.cache / "guestmount-py").iterdir())


@contextmanager
def _directory() -> Iterator[Path]:
    """Own a directory that another user can reach."""
    with tempfile.TemporaryDirectory(prefix="appliance-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def user() -> Iterator[OrdinaryUser]:
    with _directory() as directory:
        yield OrdinaryUser(directory)


@pytest.fixture(scope="module")
def first_launches(user: OrdinaryUser) -> list[tuple[int, str, str]]:
    """What two processes said that wanted an appliance at once, when there was none."""
    with user.start("locate") as one, user.start("locate") as other:
        said = [process.communicate(timeout=BUILD_S) for process in (one, other)]
    return [(process.returncode, *texts) for process, texts in zip((one, other), said, strict=True)]


@contextmanager
def _small_disk(directory: Path, size_mib: int) -> Iterator[Path]:
    """Mount a file system of that size."""
    place = directory / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0777", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def test_two_first_launches_of_an_ordinary_user_build_once(
    user: OrdinaryUser, first_launches: list[tuple[int, str, str]]
) -> None:
    (status, place, messages), (other_status, other_place, other_messages) = first_launches
    assert (status, other_status) == (0, 0), messages + other_messages
    assert place == other_place
    both = messages + other_messages
    assert both.count("downloading") == 1
    assert both.count("building the appliance\n") == 1
    assert both.count("waiting for it") == 1
    assert files_in(Path(place.strip())) is not None
    assert [name.partition("-")[0] for name in user.cached()] == ["appliance", "lock", "tree"]
    assert {path.lstat().st_uid for path in user.cache.rglob("*")} <= {NOBODY if _AS_ROOT else os.getuid()}


def test_second_launch_does_not_build(user: OrdinaryUser, first_launches: list[tuple[int, str, str]]) -> None:
    assert user.run("locate") == (0, first_launches[0][1], "")


@pytest.mark.appliance
@pytest.mark.usefixtures("first_launches")
async def test_appliance_written_by_an_ordinary_user_is_found_and_boots(user: OrdinaryUser, tmp_path: Path) -> None:
    fixed = user.directory / "fixed"
    status, _output, messages = await trio.to_thread.run_sync(lambda: user.run("build", fixed))
    assert (status, messages) == (0, "")
    assert sorted(path.name for path in fixed.iterdir()) == ["README.fixed", "initrd", "kernel", "root"]
    files = await find_appliance(pytest.fail, {"LIBGUESTFS_PATH": str(fixed)})
    with (tmp_path / "disk.img").open("wb") as disk:
        disk.truncate(1 << 20)
    drives = (Drive(path=tmp_path / "disk.img"),)
    config = replace(config_from_environment(drives, verbose=False), accelerator="tcg")
    said = list[str]()
    async with launch(config, files, log=said.append, console=lambda _data: None) as appliance:
        assert appliance.channels
    assert [line for line in said if "is still starting" not in line] == []


@pytest.mark.usefixtures("first_launches")
def test_killed_build_is_cleared_away_by_the_next(user: OrdinaryUser) -> None:
    for path in (user.cache / "guestmount-py").glob("appliance-*"):
        shutil.rmtree(path)
    with user.start("locate") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "appliance: building the appliance\n"
        process.kill()
    assert any(name.startswith("building-") for name in user.cached())
    status, _output, messages = user.run("locate")
    assert status == 0, messages
    assert [name.partition("-")[0] for name in user.cached()] == ["appliance", "lock", "tree"]


@pytest.mark.usefixtures("first_launches")
def test_interrupted_build_leaves_nothing(user: OrdinaryUser) -> None:
    for path in (user.cache / "guestmount-py").glob("appliance-*"):
        shutil.rmtree(path)
    with user.start("locate") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "appliance: building the appliance\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "appliance: interrupted\n"
    assert process.returncode == 130
    assert [name.partition("-")[0] for name in user.cached()] == ["lock", "tree"]


@needs_root
def test_disk_that_is_full_of_downloads_is_one_clear_line(user: OrdinaryUser) -> None:
    with _small_disk(user.directory, 64) as place:
        status, _output, messages = user.run("locate", cache=place)
        left = [path.name for path in (place / "guestmount-py").iterdir()]
    _assert_says_disk_full(status, messages, place)
    assert sorted(name.partition("-")[0] for name in left) == ["lock", "packages"]


@needs_root
@pytest.mark.usefixtures("first_launches")
@pytest.mark.parametrize("spare_mib", [16, 100])
def test_disk_that_is_full_of_the_image_is_one_clear_line(user: OrdinaryUser, spare_mib: int) -> None:
    tree = next((user.cache / "guestmount-py").glob("tree-*"))
    size_kib = int(subprocess.run(["du", "-sk", tree], check=True, capture_output=True, text=True).stdout.split()[0])
    with _small_disk(user.directory, size_kib // 1024 + spare_mib) as place:
        (place / "guestmount-py").mkdir(mode=0o700)
        subprocess.run(["cp", "-a", tree, place / "guestmount-py"], check=True)
        user.give(place / "guestmount-py")
        status, _output, messages = user.run("locate", cache=place)
        left = sorted(path.name for path in (place / "guestmount-py").iterdir())
    _assert_says_disk_full(status, messages, place)
    assert left == ["lock", tree.name]


@needs_root
@pytest.mark.usefixtures("first_launches")
def test_full_destination_is_one_clear_line_and_keeps_nothing(user: OrdinaryUser) -> None:
    with _small_disk(user.directory, 16) as place:
        status, _output, messages = user.run("build", place / "fixed")
        left = list((place / "fixed").iterdir())
    assert status == 1
    last = messages.splitlines()[-1]
    assert f"No space left on device: make room in {place}/fixed, or name another directory" in last
    assert left == []


def _assert_says_disk_full(status: int, messages: str, place: Path) -> None:
    assert status == 1
    last = messages.splitlines()[-1]
    assert "Traceback" not in messages
    assert "No space left" in last or "enough free space" in last
    assert f"make room in {place}/guestmount-py, or set LIBGUESTFS_CACHEDIR to another directory" in last


@pytest.mark.parametrize("place", ["/proc/nowhere", "/sys", "/dev/null"])
def test_unwritable_cache_is_one_clear_line(user: OrdinaryUser, place: str) -> None:
    status, output, messages = user.run("locate", cache=Path(place))
    assert (status, output) == (1, "")
    assert messages.count("\n") == 1
    assert f"cannot keep the appliance in {place}/guestmount-py" in messages
    assert "set LIBGUESTFS_CACHEDIR" in messages


def test_change_of_the_daemon_rebuilds_quickly(user: OrdinaryUser, first_launches: list[tuple[int, str, str]]) -> None:
    with (user.directory / "code/daemon/__main__.py").open("a") as file:
        file.write("# changed\n")
    began = time.monotonic()
    status, place, messages = user.run("locate")
    assert status == 0, messages
    assert place != first_launches[0][1]
    assert "downloading" not in messages
    assert time.monotonic() - began < 240


def test_wrong_usage_shows_the_usage(user: OrdinaryUser) -> None:
    status, _output, messages = user.run("bild")
    assert status == 2
    assert "python -m appliance build DIR" in messages
