import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import accelerator
from appliance.accelerator import accelerator_works, choose_accelerator
from appliance.config import Accelerator, ApplianceConfig, ApplianceFiles
from appliance.launch import launch
from appliance.restore import job_key
from appliance.running import Job
from rpc.errors import LaunchError

MakeQemu = Callable[[str], ApplianceConfig]
WORKING = "echo 'Kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)'; exit 0"
"""What a kernel says that boots without a root."""


@pytest.fixture
def files(tmp_path: Path) -> ApplianceFiles:
    """Files that no test here boots."""
    for name in ("kernel", "initrd"):
        (tmp_path / name).touch()
    root = bytes(0x438) + b"\x53\xef" + bytes(0x400)
    (tmp_path / "root").write_bytes(root)
    return ApplianceFiles(
        kernel=tmp_path / "kernel", initrd=tmp_path / "initrd", root=tmp_path / "root", resumable=True
    )


@pytest.fixture
def make_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeQemu:
    """Make a program that stands for a qemu whose KVM behaves as a shell script says; its starts are counted."""
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "_KVM", tmp_path / "kvm")
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path / "cache"))

    def make(script: str) -> ApplianceConfig:
        program = tmp_path / "qemu"
        program.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/starts\n{script}\n")
        program.chmod(0o755)
        return ApplianceConfig(drives=(), qemu=str(program))

    return make


def _starts(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "starts").read_text().splitlines()]


@pytest.mark.parametrize("script", ["kill -ABRT $$", "echo failed to set MSR >&2; exit 1", "exit 0", "exec sleep 1000"])
async def test_kvm_that_crashes_or_hangs_leads_to_tcg_once_and_is_remembered(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(accelerator, "_PROBE_S", 5.0)
    config, said = make_qemu(script), list[str]()
    assert await choose_accelerator(config, files, said.append) == "tcg"
    assert await choose_accelerator(config, files, said.append) == "tcg"
    assert said == [f"{tmp_path}/kvm is there but does not work: using emulation (TCG), which is slower"]
    [process] = _starts(tmp_path)
    assert not Path(f"/proc/{process}").exists()


async def test_kvm_that_works_is_used_and_tried_once(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path
) -> None:
    config, said = make_qemu(WORKING), list[str]()
    for _ in range(2):
        assert await choose_accelerator(config, files, said.append) == "kvm"
    assert said == []
    assert len(_starts(tmp_path)) == 1


async def test_kvm_that_works_makes_the_template_and_boots(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path
) -> None:
    script = f"case $* in *-initrd*) echo $* >>{tmp_path}/machines; exit 1;; esac; {WORKING}"
    config, said = make_qemu(script), list[str]()
    with pytest.raises(LaunchError):
        async with launch(config, files, log=said.append, console=lambda _data: None):
            pytest.fail("launched without qemu")
    making, booting = (tmp_path / "machines").read_text().splitlines()
    assert "q35,accel=kvm,graphics=off" in making
    assert "share=on" in making
    assert "q35,accel=kvm,graphics=off" in booting
    assert "share=" not in booting
    jobs = [Job(config, files, each, "uuid") for each in ("kvm", "tcg")]
    assert len({job_key(job) for job in jobs}) == 2


async def test_other_qemu_is_tried_anew(make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path) -> None:
    await choose_accelerator(make_qemu("exit 1"), files, lambda _text: None)
    await choose_accelerator(make_qemu("exit 12"), files, lambda _text: None)
    assert len(_starts(tmp_path)) == 2


async def test_unwritable_cache_only_means_trying_again(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", "/proc/no-such-directory")
    config = make_qemu("exit 1")
    assert await choose_accelerator(config, files, lambda _text: None) == "tcg"
    assert await choose_accelerator(config, files, lambda _text: None) == "tcg"
    assert len(_starts(tmp_path)) == 2


async def test_machine_without_kvm_uses_tcg_and_says_nothing(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path
) -> None:
    config, said = make_qemu("exit 1"), list[str]()
    (tmp_path / "kvm").unlink()
    assert await choose_accelerator(config, files, said.append) == "tcg"
    assert said == []
    assert not (tmp_path / "starts").exists()


@pytest.mark.parametrize("choice", ["kvm", "tcg"])
async def test_users_choice_is_not_tried(
    make_qemu: MakeQemu, files: ApplianceFiles, tmp_path: Path, choice: Accelerator
) -> None:
    config = ApplianceConfig(drives=(), qemu=make_qemu("exit 1").qemu, accelerator=choice)
    assert await choose_accelerator(config, files, lambda _text: None) == choice
    assert not (tmp_path / "starts").exists()


@pytest.mark.appliance
async def test_accelerator_that_boots_a_kernel_works(
    appliance_files: ApplianceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("qemu-system-x86_64")
    monkeypatch.setattr(accelerator, "_PROBE_S", 120.0)
    assert await accelerator_works("tcg", ApplianceConfig(drives=()), appliance_files)
