"""Encrypted devices in a real appliance, and that their keys are nowhere to be seen."""

import pytest

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs
from rpc.codec import Device, Mountable
from rpc.procedures import (
    BLOCKDEV_GETRO,
    BLOCKDEV_GETSIZE64,
    CRYPTSETUP_CLOSE,
    CRYPTSETUP_OPEN,
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

pytestmark = pytest.mark.appliance

SDE = Device("/dev/sde")
OPEN = Device("/dev/mapper/open")
KEY = "first secret é"
SECOND = "second secret\nof two lines"
WRONG = "a wrong secret"


def test_luks_device_is_made_opened_and_closed(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT, LuksFormatArgs(SDE, KEY, 0))
    uuid = storage.call(LUKS_UUID, DeviceArgs(SDE))
    assert uuid == storage.call(VFS_UUID, MountableArgs(Mountable("/dev/sde")))
    assert storage.call(VFS_TYPE, MountableArgs(Mountable("/dev/sde"))) == "crypto_LUKS"
    errno_name, message = storage.refused(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, WRONG, "open"))
    assert (errno_name, message) == ("", "No key available with this passphrase.")

    storage.call(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open"))
    assert storage.call(LIST_DM_DEVICES, NoArgs()) == [OPEN]
    assert storage.call(BLOCKDEV_GETSIZE64, DeviceArgs(OPEN)) == (SIZES_MIB[4] - 16) << 20
    assert storage.refused(LVM_CANONICAL_LV_NAME, LvmCanonicalLvNameArgs(OPEN))[0] == "EINVAL"
    storage.call(MKFS, MkfsArgs("ext2", OPEN))
    rows = storage.table(LIST_FILESYSTEMS, NoArgs())
    assert rows[OPEN] == "ext2"
    assert SDE not in rows
    assert "exist" in storage.refused(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))[1]
    storage.call(CRYPTSETUP_CLOSE, DeviceArgs(OPEN))
    assert storage.call(LIST_DM_DEVICES, NoArgs()) == []
    assert storage.refused(CRYPTSETUP_CLOSE, DeviceArgs(OPEN))[0] == "ENOENT"
    assert "/dev/mapper/NAME" in storage.refused(LUKS_CLOSE, DeviceArgs(SDE))[1]

    storage.call(LUKS_OPEN_RO, LuksOpenArgs(SDE, KEY, "open"))
    assert storage.call(BLOCKDEV_GETRO, DeviceArgs(OPEN))
    storage.call(LUKS_CLOSE, DeviceArgs(OPEN))


def test_keys_are_added_and_removed(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT_CIPHER, LuksFormatCipherArgs(SDE, KEY, 1, "aes-cbc-essiv:sha256"))
    storage.call(LUKS_ADD_KEY, LuksAddKeyArgs(SDE, KEY, SECOND, 3))
    storage.call(LUKS_OPEN, LuksOpenArgs(SDE, SECOND, "open"))
    storage.call(LUKS_CLOSE, DeviceArgs(OPEN))
    assert storage.refused(LUKS_KILL_SLOT, LuksFormatArgs(SDE, WRONG, 1))[0] == ""
    storage.call(LUKS_KILL_SLOT, LuksFormatArgs(SDE, SECOND, 1))
    assert storage.refused(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))[0] == ""
    storage.call(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, SECOND, "open", readonly=True, crypttype="luks"))
    assert storage.call(BLOCKDEV_GETRO, DeviceArgs(OPEN))
    storage.call(CRYPTSETUP_CLOSE, DeviceArgs(OPEN))


def test_volumes_inside_an_encrypted_device_are_found_by_a_scan(storage: Scratch) -> None:
    storage.call(LUKS_FORMAT, LuksFormatArgs(SDE, KEY, 0))
    storage.call(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))
    storage.call(PVCREATE, DeviceArgs(OPEN))
    storage.call(VGCREATE, VgcreateArgs("hidden", [OPEN]))
    storage.call(LVCREATE_FREE, LvcreateFreeArgs("deep", "hidden", 100))
    storage.call(VG_ACTIVATE_ALL, VgActivateAllArgs(False))
    storage.call(LUKS_CLOSE, DeviceArgs(OPEN))
    assert storage.call(LVS, NoArgs()) == []
    storage.call(LUKS_OPEN, LuksOpenArgs(SDE, KEY, "open"))
    storage.call(LVM_SCAN, VgActivateAllArgs(True))
    assert storage.call(LVS, NoArgs()) == ["/dev/hidden/deep"]
    storage.call(LVM_REMOVE_ALL, NoArgs())
    storage.call(LUKS_CLOSE, DeviceArgs(OPEN))


def test_nonsense_is_refused(storage: Scratch) -> None:
    storage.call(WIPEFS, DeviceArgs(SDE))
    assert "not an encrypted device" in storage.refused(CRYPTSETUP_OPEN, CryptsetupOpenArgs(SDE, KEY, "open"))[1]
    for name in ("", "a/b", "control", ".."):
        assert "mapping" in storage.refused(LUKS_OPEN, LuksOpenArgs(SDE, KEY, name))[1]
    assert storage.refused(LUKS_UUID, DeviceArgs(SDE))[0] == ""


def test_keys_are_not_in_the_log(storage: Scratch) -> None:
    """The daemon is verbose, and all tests above have run; without them this one says nothing."""
    assert b"guestfsd: " in storage.console
    for key in (KEY, SECOND, WRONG):
        assert key.splitlines()[0].encode() not in storage.console
