import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from appliance.cache import build_lock, cache_directory, content_key, files_in, make_private, prune
from appliance.locate import find_appliance
from appliance.packages import PackageList
from rpc.errors import ImageError

PACKAGES = PackageList("debian-12", ("busybox",), ())


def _no_log(text: str) -> None:
    raise AssertionError(text)


def _fixed_appliance(directory: Path) -> Path:
    directory.mkdir()
    for name in ("kernel", "initrd", "root", "README.fixed"):
        (directory / name).touch()
    return directory


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"LIBGUESTFS_CACHEDIR": "/a", "XDG_CACHE_HOME": "/b"}, "/a/guestmount-py"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/guestmount-py"),
        ({}, str(Path.home() / ".cache/guestmount-py")),
    ],
)
def test_cache_directory_follows_the_environment(environment: dict[str, str], directory: str) -> None:
    assert cache_directory(environment) == Path(directory)


def test_cache_is_made_for_its_user_only(tmp_path: Path) -> None:
    make_private(tmp_path / "some/cache")
    assert (tmp_path / "some/cache").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.chmod(0o777), "others can write there"),
        (lambda path: (path.rmdir(), path.touch()), "File exists"),
        pytest.param(
            lambda path: os.chown(path, 65534, -1),
            "belongs to another user",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a directory away"),
        ),
    ],
)
def test_unsafe_cache_is_refused(tmp_path: Path, spoil: Callable[[Path], object], reason: str) -> None:
    make_private(tmp_path / "cache")
    spoil(tmp_path / "cache")
    with pytest.raises(ImageError, match=f"cannot keep the appliance in {tmp_path}/cache: .*{reason}: set LIBGUESTFS"):
        make_private(tmp_path / "cache")


def test_key_depends_on_the_packages() -> None:
    assert content_key(PACKAGES) == content_key(PACKAGES)
    assert content_key(PACKAGES) != content_key(PackageList("debian-13", ("busybox",), ()))


@pytest.mark.parametrize("missing", ["kernel", "initrd", "root", "README.fixed"])
def test_appliance_with_a_file_missing_is_none(tmp_path: Path, missing: str) -> None:
    directory = _fixed_appliance(tmp_path / "appliance")
    assert files_in(directory) is not None
    (directory / missing).unlink()
    assert files_in(directory) is None


async def test_first_fixed_appliance_on_the_path_is_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    first, second = (_fixed_appliance(tmp_path / name) for name in ("first", "second"))
    path = f"{tmp_path}/empty:{tmp_path}/absent:{first}:{second}"
    assert (await find_appliance(_no_log, {"LIBGUESTFS_PATH": path})).kernel == first / "kernel"


async def test_empty_element_of_the_path_is_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_fixed_appliance(tmp_path / "here"))
    assert (await find_appliance(_no_log, {"LIBGUESTFS_PATH": "/nowhere:"})).root.absolute() == tmp_path / "here/root"


async def test_path_without_an_appliance_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"no appliance .* in LIBGUESTFS_PATH={tmp_path}: build one"):
        await find_appliance(_no_log, {"LIBGUESTFS_PATH": str(tmp_path)})


def test_prune_removes_what_is_abandoned_or_old(tmp_path: Path) -> None:
    long_ago = time.time() - 2 * 24 * 3600
    for name in ("appliance-kept", "appliance-old", "appliance-new", "tree-old", "building-1", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        if not name.endswith("new"):
            os.utime(tmp_path / name, (long_ago, long_ago))
    (tmp_path / "accelerator-old").touch()
    os.utime(tmp_path / "accelerator-old", (long_ago, long_ago))
    (tmp_path / "lock").touch()
    prune(tmp_path, {"appliance-kept"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["appliance-kept", "appliance-new", "lock", "others"]


async def test_lock_is_waited_for_and_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    waiting, entered = trio.Event(), trio.Event()

    def log(text: str) -> None:
        said.append(text)
        waiting.set()

    async def second() -> None:
        async with build_lock(tmp_path, log):
            entered.set()

    async with trio.open_nursery() as nursery:
        async with build_lock(tmp_path, _no_log):
            nursery.start_soon(second)
            await waiting.wait()
            assert not entered.is_set()
        with trio.fail_after(60):
            await entered.wait()
    assert said == ["another process is building the appliance; waiting for it"]
