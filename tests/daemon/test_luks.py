"""Encrypted devices in a real appliance, and that their keys are nowhere to be seen."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import luks
from daemon.session import Session
from daemon.sysroot import Sysroot
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Device, Mountable
from rpc.procedures import (
    BLOCKDEV_GETRO,
    BLOCKDEV_GETSIZE64,
    CRYPTSETUP_CLOSE,
    CRYPTSETUP_OPEN,
    DEBUG,
    LIST_DM_DEVICES,
    LIST_FILESYSTEMS,
    LUKS_ADD_KEY,
    LUKS_CLOSE,
    LUKS_FORMAT,
    LUKS_FORMAT_CIPHER,
    LUKS_KILL_SLOT,
    LUKS_OPEN,
    LUKS_OPEN_RO,
    LUKS_UUID,
    LVCREATE_FREE,
    LVM_CANONICAL_LV_NAME,
    LVM_REMOVE_ALL,
    LVM_SCAN,
    LVS,
    MKFS,
    PVCREATE,
    VFS_TYPE,
    VFS_UUID,
    VG_ACTIVATE_ALL,
    VGCREATE,
    WIPEFS,
)
from rpc.procedures.control import DebugArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.luks import (
    CryptsetupOpenArgs,
    LuksAddKeyArgs,
    LuksFormatArgs,
    LuksFormatCipherArgs,
    LuksOpenArgs,
)
from rpc.procedures.lvm import LvcreateFreeArgs, LvmCanonicalLvNameArgs, VgActivateAllArgs, VgcreateArgs
from tests.daemon.scratch import SIZES_MIB, Scratch

SDE = Device("/dev/sde")
OPEN = Device("/dev/mapper/open")
KEY = "first secret é"
SECOND = "second secret\nof two lines"
WRONG = "a wrong secret"


@pytest.fixture
def quick(storage: Scratch) -> Iterator[Scratch]:
    """Make a LUKS device whose key costs next to nothing: under emulation a real one costs ten seconds each time."""
    words = f"printf %s '{KEY}' | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 -d - /dev/$NODE"
    storage.call(DEBUG, DebugArgs("sh", ["NODE=$(ls /sys/bus/scsi/devices/*:0:4:0/block);", words]))
    yield storage
    for name in storage.call(LIST_DM_DEVICES, NoArgs()):
        storage.call(LUKS_CLOSE, DeviceArgs(Device(name)))
    storage.call(WIPEFS, DeviceArgs(SDE))


def slots(storage: Scratch) -> list[str]:
    """Return the numbers of the slots that hold keys."""
    words = "cryptsetup luksDump --dump-json-metadata /dev/$(ls /sys/bus/scsi/devices/*:0:4:0/block)"
    return sorted(json.loads(storage.call(DEBUG, DebugArgs("sh", [words])))["keyslots"])


@pytest.mark.appliance
def test_luks_device_is_made_and_opened(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT, LuksFormatArgs(SDE, KEY, 0))
    uuid = storage.call(LUKS_UUID, DeviceArgs(SDE))
    assert uuid == storage.call(VFS_UUID, MountableArgs(Mountable("/dev/sde")))
    assert storage.call(VFS_TYPE, MountableArgs(Mountable("/dev/sde"))) == "crypto_LUKS"
    storage.call(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open"))
    assert storage.call(BLOCKDEV_GETSIZE64, DeviceArgs(OPEN)) == (SIZES_MIB[4] - 16) << 20
    storage.call(LUKS_CLOSE, DeviceArgs(OPEN))


@pytest.mark.appliance
def test_mapping_is_there_until_it_is_closed(quick: Scratch) -> None:
    errno_name, message = quick.refused(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, WRONG, "open"))
    assert (errno_name, message) == ("", "No key available with this passphrase.")
    quick.call(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open"))
    assert quick.call(LIST_DM_DEVICES, NoArgs()) == [OPEN]
    assert not quick.call(BLOCKDEV_GETRO, DeviceArgs(OPEN))
    assert quick.refused(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs(OPEN))[0] == "EINVAL"
    quick.call(MKFS, MkfsArgs("ext2", OPEN))
    rows = quick.table(LIST_FILESYSTEMS, NoArgs())
    assert rows[OPEN] == "ext2"
    assert SDE not in rows
    assert "exist" in quick.refused(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))[1]
    quick.call(CRYPTSETUP_CLOSE, DeviceArgs(OPEN))
    assert quick.call(LIST_DM_DEVICES, NoArgs()) == []
    assert quick.refused(CRYPTSETUP_CLOSE, DeviceArgs(OPEN))[0] == "ENOENT"
    assert "/dev/mapper/NAME" in quick.refused(LUKS_CLOSE, DeviceArgs(SDE))[1]


@pytest.mark.appliance
def test_mapping_may_be_read_only(quick: Scratch) -> None:
    quick.call(LUKS_OPEN_RO, LuksOpenArgs(SDE, KEY, "open"))
    assert quick.call(BLOCKDEV_GETRO, DeviceArgs(OPEN))
    quick.call(LUKS_CLOSE, DeviceArgs(OPEN))
    quick.call(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open", readonly=True, crypttype="luks"))
    assert quick.call(BLOCKDEV_GETRO, DeviceArgs(OPEN))


@pytest.mark.appliance
def test_keys_are_added_and_removed(quick: Scratch) -> None:
    quick.call(LUKS_ADD_KEY, LuksAddKeyArgs(SDE, KEY, SECOND, 3))
    assert slots(quick) == ["0", "3"]
    quick.call(LUKS_OPEN, LuksOpenArgs(SDE, SECOND, "open"))
    quick.call(LUKS_CLOSE, DeviceArgs(OPEN))
    quick.call(LUKS_KILL_SLOT, LuksFormatArgs(SDE, KEY, 3))
    assert slots(quick) == ["0"]
    assert quick.refused(LUKS_KILL_SLOT, LuksFormatArgs(SDE, WRONG, 0))[0] == ""
    assert quick.refused(LUKS_ADD_KEY, LuksAddKeyArgs(SDE, WRONG, SECOND, 3))[0] == ""
    assert slots(quick) == ["0"]


@pytest.mark.appliance
def test_cipher_and_slot_are_chosen(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT_CIPHER, LuksFormatCipherArgs(SDE, KEY, 1, "aes-cbc-essiv:sha256"))
    assert slots(storage) == ["1"]
    words = "cryptsetup luksDump /dev/$(ls /sys/bus/scsi/devices/*:0:4:0/block)"
    assert "aes-cbc-essiv:sha256" in storage.call(DEBUG, DebugArgs("sh", [words]))


@pytest.mark.appliance
def test_volumes_inside_an_encrypted_device_are_found_by_a_scan(quick: Scratch) -> None:
    quick.call(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))
    quick.call(PVCREATE, DeviceArgs(OPEN))
    quick.call(VGCREATE, VgcreateArgs("hidden", [OPEN]))
    quick.call(LVCREATE_FREE, LvcreateFreeArgs("deep", "hidden", 100))
    quick.call(VG_ACTIVATE_ALL, VgActivateAllArgs(False))
    quick.call(LUKS_CLOSE, DeviceArgs(OPEN))
    assert quick.call(LVS, NoArgs()) == []
    quick.call(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))
    quick.call(LVM_SCAN, VgActivateAllArgs(True))
    assert quick.call(LVS, NoArgs()) == ["/dev/hidden/deep"]
    quick.call(LVM_REMOVE_ALL, NoArgs())


@pytest.mark.appliance
def test_nonsense_is_refused(storage: Scratch) -> None:
    storage.call(WIPEFS, DeviceArgs(SDE))
    assert "not an encrypted device" in storage.refused(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open"))[1]
    for name in ("", "a/b", "control", ".."):
        assert "mapping" in storage.refused(LUKS_OPEN, LuksOpenArgs(SDE, KEY, name))[1]
    assert storage.refused(LUKS_UUID, DeviceArgs(SDE))[0] == ""


def test_keys_are_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "cryptsetup"
    program.write_text(
        "#!/bin/sh\n"
        f"tr '\\0' '\\n' </proc/$$/cmdline >>{tmp_path}/seen; tr '\\0' '\\n' </proc/$$/environ >>{tmp_path}/seen\n"
        f"cat >>{tmp_path}/keys; [ ! -e /proc/self/fd/3 ] || cat <&3 >>{tmp_path}/keys\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    session = Session(Sysroot(bytes(tmp_path), is_plain_directory=True))
    luks.luks_open(session, LuksOpenArgs(SDE, KEY, "open"))
    luks.luks_format_cipher(session, LuksFormatCipherArgs(SDE, KEY, 0, "aes"))
    luks.luks_add_key(session, LuksAddKeyArgs(SDE, KEY, SECOND, 1))
    luks.luks_kill_slot(session, LuksFormatArgs(SDE, KEY, 1))
    seen = (tmp_path / "seen").read_text()
    assert seen.count("--key-file=-") == 4
    assert not [key for key in (*KEY.split(), *SECOND.splitlines()) if key in seen]
    assert (tmp_path / "keys").read_text() == KEY + KEY + KEY + SECOND + KEY


@pytest.mark.appliance
def test_keys_are_not_in_the_log(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT, LuksFormatArgs(SDE, KEY, 0))
    storage.call(LUKS_ADD_KEY, LuksAddKeyArgs(SDE, KEY, SECOND, 1))
    storage.refused(LUKS_OPEN, LuksOpenArgs(SDE, WRONG, "open"))
    storage.call(WIPEFS, DeviceArgs(SDE))
    assert all(name in storage.console for name in (b"luks_format", b"luks_add_key", b"luks_open"))
    for key in (KEY, SECOND, WRONG):
        assert key.splitlines()[0].encode() not in storage.console
