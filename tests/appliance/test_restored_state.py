"""What a restored machine must have of its own, and what it must have done before it was saved."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance import launch as launch_module
from appliance.config import ApplianceConfig, ApplianceFiles, Drive
from appliance.launch import launch, prepare_template
from appliance.restore import resume
from appliance.running import Appliance
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.client import Channel
from rpc.procedures.control import DebugArgs

pytestmark = pytest.mark.appliance

_TEMPLATES = 5
_DRAW = "for i in 1 2 3 4; do cat /proc/sys/kernel/random/uuid; done"


@asynccontextmanager
async def _restored(config: ApplianceConfig, files: ApplianceFiles) -> AsyncIterator[Appliance]:
    async with launch(config, files, log=print, console=lambda _: None) as appliance:
        assert appliance.restored
        yield appliance


async def test_copies_repeat_random_numbers_unless_they_resume(
    appliance_files: ApplianceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what makes copies differ is what ``resume`` does, and not chance.

    Linux renews its random numbers by itself, the next time when the machine has run half as long again: that may be
    just when a copy has woken, in all copies of a template. Another template was saved at another moment.
    """
    config = ApplianceConfig(drives=())
    drawn: list[str] = []

    async def draw_instead(channel: Channel, _drive_count: int) -> None:
        drawn.append(await channel.call(procedures.DEBUG, DebugArgs("sh", [_DRAW])))

    async def draw_after(channel: Channel, drive_count: int) -> None:
        await resume(channel, drive_count)
        await draw_instead(channel, drive_count)

    async def copies(waking: Callable[[Channel, int], Awaitable[None]]) -> list[list[str]]:
        drawn.clear()
        monkeypatch.setattr(launch_module, "resume", waking)
        for _ in range(2):
            async with _restored(config, appliance_files):
                pass
        return [text.split() for text in drawn]

    for _ in range(_TEMPLATES):
        one, other = await copies(draw_instead)
        if set(one) & set(other):
            break
        (await prepare_template(config, lambda _: None, appliance_files)).unlink()
        await prepare_template(config, lambda _: None, appliance_files)
    else:
        pytest.fail(f"copies of {_TEMPLATES} templates repeated no number, though they did not resume")
    resumed, again = await copies(draw_after)
    assert len({*one, *resumed, *again}) == 12


async def test_machine_with_one_channel_is_restored(appliance_files: ApplianceFiles, tmp_path: Path) -> None:
    """Its only port is open before anything else is done; it has rehearsed and listens all the same."""
    drives = []
    for number in range(3):
        path = tmp_path / f"{number}.img"
        path.write_bytes(bytes(1 << 20))
        drives.append(Drive(path=path))
    config = ApplianceConfig(drives=tuple(drives), channel_count=1)
    async with launch(config, appliance_files, log=lambda _: None, console=lambda _: None):
        pass  # this may have made the template
    async with _restored(config, appliance_files) as appliance:
        [channel] = appliance.channels
        assert await channel.call(procedures.LIST_DEVICES, NoArgs()) == ["/dev/sda", "/dev/sdb", "/dev/sdc"]


async def test_restored_machine_has_not_looked_for_arrays_and_volumes_yet(appliance_files: ApplianceFiles) -> None:
    """Before it was saved it had no disks, so what it found then is worth nothing."""
    async with _restored(ApplianceConfig(drives=()), appliance_files) as appliance:
        marker = await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", ["cat /run/guestfsd.assembled"]))
        assert marker == ""
        await appliance.channels[0].call(procedures.LIST_MD_DEVICES, NoArgs())
        marker = await appliance.channels[0].call(procedures.DEBUG, DebugArgs("sh", ["cat /run/guestfsd.assembled"]))
        assert marker == "1"
