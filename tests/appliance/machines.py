"""Launches for tests of templates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.config import ApplianceConfig, ApplianceFiles, Drive
from appliance.launch import launch
from appliance.running import Appliance
from appliance.state import StateMachine
from rpc import procedures
from rpc.procedures.control import DebugArgs

MIB = 1 << 20
BOOTS = "the appliance could not be restored from its template, so it boots: "


async def always_tcg(*_: object) -> str:
    return "tcg"


def templates(directory: Path) -> list[Path]:
    return sorted(directory.glob("template-*[0-9a-f]"))


def disk(directory: Path, name: str, size_mib: int) -> Drive:
    path = directory / f"{name}.img"
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
    return Drive(path=path)


@asynccontextmanager
async def launched(
    files: ApplianceFiles,
    *drives: Drive,
    said: list[str] | None = None,
    machine: StateMachine | None = None,
    qemu: Path = Path("qemu-system-x86_64"),
    launch_timeout_s: float = 600.0,
) -> AsyncIterator[Appliance]:
    """Launch; that it takes long is not among what is said."""

    def say(line: str) -> None:
        if said is not None and not line.startswith(("the appliance is still starting: ", "another process is ")):
            said.append(line)

    config = ApplianceConfig(drives=drives, qemu=str(qemu), launch_timeout_s=launch_timeout_s)
    async with launch(config, files, log=say, console=lambda _: None, machine=machine) as appliance:
        yield appliance


def qemu_after(directory: Path, before: str) -> Path:
    """Write a qemu that does something else first."""
    qemu = directory / "qemu"
    qemu.write_text(f'#!/bin/sh\n{before}\nexec qemu-system-x86_64 "$@"\n')
    qemu.chmod(0o755)
    return qemu


async def shell(appliance: Appliance, command: str) -> str:
    return await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", [command]))
