"""Templates made by the real qemu: one for all who want it, whatever happens to its maker."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio

from appliance import cache, restore
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.packages import package_list
from appliance.root_image import daemon_sources
from appliance.running import Job
from tests.appliance.machines import disk, launched, qemu_after, templates
from tests.system.sandbox import REPOSITORY, gone_within

pytestmark = pytest.mark.appliance


async def our_qemus() -> set[bytes]:
    found = await trio.run_process(["pgrep", "-P", str(os.getpid()), "qemu"], capture_stdout=True, check=False)
    return set(found.stdout.split())


async def test_cancelled_making_leaves_nothing(appliance_files: ApplianceFiles, own_cache: Path) -> None:
    before = await our_qemus()

    async def launch_one() -> None:
        async with launched(appliance_files):
            pytest.fail("launched in a second, without a template")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(launch_one)
        while await our_qemus() <= before:
            pass
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [path.name for path in own_cache.iterdir()] == ["lock-template"]
    assert await our_qemus() <= before


async def test_makers_that_wait_do_not_fail_once_more(
    appliance_files: ApplianceFiles, own_cache: Path, tmp_path: Path
) -> None:
    count = f'case "$*" in *share=on*) echo $$ >>{tmp_path}/starts; sleep 1; exit 1;; esac'
    qemu = qemu_after(tmp_path, count)

    async def launch_one() -> None:
        async with launched(appliance_files, qemu=qemu) as appliance:
            assert not appliance.restored

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(launch_one)
    assert len(_starts(tmp_path)) == 1


async def test_concurrent_first_launches_make_one(
    appliance_files: ApplianceFiles, own_cache: Path, tmp_path: Path
) -> None:
    qemu = qemu_after(tmp_path, f'case "$*" in *share=on*) echo $$ >>{tmp_path}/starts;; esac')

    async def launch_one(index: int) -> None:
        async with launched(appliance_files, disk(tmp_path, f"disk-{index}", 1), qemu=qemu) as appliance:
            assert appliance.restored

    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(launch_one, index)
    assert len(_starts(tmp_path)) == 1
    assert len(templates(own_cache)) == 1


@pytest.fixture
def making(appliance_files: ApplianceFiles, own_cache: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which ``python -m appliance template`` has none yet; qemu's starts are counted."""
    qemu = qemu_after(tmp_path, f"echo $$ >>{tmp_path}/starts")
    appliance = str(appliance_files.root.parent)
    return {**os.environ, "LIBGUESTFS_PATH": appliance, "LIBGUESTFS_HV": str(qemu)}


MAKE: Final = (sys.executable, "-m", "appliance", "template")


def _make(environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(MAKE, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


def _starts(tmp_path: Path) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(line) for line in (tmp_path / "starts").read_text().splitlines()]
    return []


def test_concurrent_makers_make_one(making: dict[str, str], own_cache: Path, tmp_path: Path) -> None:
    with _make(making) as first, _make(making) as second, _make(making) as third:
        paths = {maker.communicate(timeout=200)[0] for maker in (first, second, third)}
    assert paths == {f"{path}\n" for path in templates(own_cache)}
    assert len(paths) == 1
    assert len(_starts(tmp_path)) == 1


def test_killed_maker_leaves_nothing_and_the_next_one_makes_it(
    making: dict[str, str], own_cache: Path, tmp_path: Path
) -> None:
    with _make(making) as maker:
        while not _starts(tmp_path):
            time.sleep(0.05)
        time.sleep(1)
        maker.kill()
    assert gone_within(_starts(tmp_path), 60)
    assert [path.name for path in own_cache.iterdir()] == ["lock-template"]
    with _make(making) as maker:
        assert maker.communicate(timeout=200)[0]
    assert len(templates(own_cache)) == 1


def test_one_byte_of_daemon_code_makes_another_template(
    appliance_files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's code is part of the appliance's name, and the appliance of the template's."""
    packages = package_list()
    before = cache.content_key(packages)
    sources = {name: Path(shutil.copytree(path, tmp_path / name)) for name, path in daemon_sources().items()}
    monkeypatch.setattr(cache, "daemon_sources", lambda: sources)
    assert cache.content_key(packages) == before
    with (sources["daemon"] / "stat.py").open("a") as file:
        file.write("\n")
    after = cache.content_key(packages)
    assert after != before
    other = appliance_files.root.parent.with_name(f"appliance-{after}")
    elsewhere = Path(shutil.copytree(appliance_files.root.parent, tmp_path / other.name, copy_function=os.link))
    files = replace(appliance_files, kernel=elsewhere / "kernel", initrd=elsewhere / "initrd", root=elsewhere / "root")
    keys = {restore.job_key(Job(ApplianceConfig(drives=()), each, "tcg", "uuid")) for each in (files, appliance_files)}
    assert len(keys) == 2


def test_appliance_of_others_is_never_restored(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    for name in ("kernel", "initrd", "root"):
        (tmp_path / name).touch()
    (tmp_path / "README.fixed").write_text("This is the fixed appliance.\n")
    found = cache.files_in(tmp_path)
    assert found is not None
    assert not found.resumable
    assert appliance_files.resumable
