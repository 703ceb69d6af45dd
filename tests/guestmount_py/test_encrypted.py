"""A LUKS2 device with the key derivation that cryptsetup chooses on a large machine: a gibibyte of memory."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from guestmount_py import Guest
from rpc.errors import ProcedureError

pytestmark = [pytest.mark.appliance, pytest.mark.usefixtures("appliance_files")]
_KEY: Final = "a secret"
_KIB_OF_ARGON2: Final = 1 << 20


@pytest.fixture
def encrypted_disk(tmp_path: Path) -> Path:
    image = tmp_path / "encrypted.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    argon2 = ("--pbkdf", "argon2id", "--pbkdf-memory", str(_KIB_OF_ARGON2), "--pbkdf-force-iterations", "4")
    command = ("cryptsetup", "--batch-mode", "--type", "luks2", *argon2, "--pbkdf-parallel", "1", "--key-file", "-")
    subprocess.run([*command, "luksFormat", image], input=_KEY.encode(), check=True)
    return image


async def test_encrypted_gives_the_memory_that_a_luks2_device_takes(encrypted_disk: Path) -> None:
    async with Guest() as g:
        g.add_drive(encrypted_disk)
        g.configure(encrypted=True)
        await g.launch()
        await g.luks_open_ro("/dev/sda", _KEY, "open")
        assert await g.list_dm_devices() == ["/dev/mapper/open"]


async def test_without_it_there_is_an_error_that_says_so(encrypted_disk: Path) -> None:
    async with Guest() as g:
        g.add_drive(encrypted_disk)
        await g.launch()
        with pytest.raises(ProcedureError, match=r"memory.*LIBGUESTFS_MEMSIZE"):
            await g.luks_open_ro("/dev/sda", _KEY, "open")
