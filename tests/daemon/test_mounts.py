"""Devices and mounts in a real appliance."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance.config import ApplianceFiles, Drive, config_from_environment
from appliance.launch import launch
from rpc.arguments import DeviceArgs, MountableArgs, NoArgs, PathArgs
from rpc.client import Channel
from rpc.codec import Device, DeviceOrPath, GuestPath, Mountable
from rpc.errors import ProcedureError
from rpc.procedure import Procedure
from rpc.procedures import (
    BLKID,
    BLOCKDEV_GETSIZE64,
    BLOCKDEV_GETSS,
    CHECKSUM,
    CHECKSUM_DEVICE,
    DOWNLOAD,
    EXISTS,
    INTERNAL_AUTOSYNC,
    INTERNAL_FEATURE_AVAILABLE,
    INTERNAL_PARSE_MOUNTABLE,
    IS_WHOLE_DEVICE,
    LIST_DEVICES,
    LIST_FILESYSTEMS,
    LIST_PARTITIONS,
    LVM_CANONICAL_LV_NAME,
    LVS,
    MOUNT_OPTIONS,
    MOUNT_RO,
    MOUNT_VFS,
    MOUNTPOINTS,
    MOUNTS,
    NR_DEVICES,
    PART_GET_PARTTYPE,
    PART_LIST,
    PREAD,
    PREAD_DEVICE,
    READLINK,
    SYNC,
    UMOUNT,
    UMOUNT_ALL,
    VFS_LABEL,
    VFS_TYPE,
    VFS_UUID,
)
from rpc.procedures.contents import PreadArgs, PreadDeviceArgs
from rpc.procedures.mounting import MountArgs, MountOptionsArgs, MountVfsArgs, UmountArgs
from rpc.procedures.partitions import Partition
from rpc.procedures.texts import ChecksumArgs
from rpc.procedures.transfers import RemoteFileArgs
from rpc.types import InternalMountable
from tests.guests.disk import create_disk, partition

pytestmark = pytest.mark.appliance

BIG_BYTES = (5 << 20) + 7
UUID = "12345678-1234-4321-8765-0123456789ab"


@pytest.fixture
def drives(tmp_path: Path) -> tuple[Drive, ...]:
    """Make a disk of two partitions, ext2 and nothing, and one that is an ext4 filesystem as it stands."""
    tree = tmp_path / "tree"
    (tree / "mnt").mkdir(parents=True)
    (tree / "big").write_bytes(os.urandom(BIG_BYTES))
    (tree / "evil").symlink_to("/../../../../mnt")
    os.mknod(tree / "disk", 0o60660, os.makedev(254, 0))
    os.mkfifo(tree / "fifo")
    divided, plain = tmp_path / "divided.img", tmp_path / "plain.img"
    create_disk(divided, [16, 4])
    where = partition(divided, 1)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext2", "-d", tree, "-E", f"offset={where.start_bytes}", divided, "16m"], check=True
    )
    with plain.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "the label", "-U", UUID, plain], check=True)
    return Drive(path=divided, format="raw"), Drive(path=plain, format="raw")


def _ignore(_line: bytes) -> None:
    """Take the console's output."""


async def refused(channel: Channel, procedure: Procedure[Any, Any], args: Any) -> tuple[str, str]:
    """Return errno name and message of a call that must fail."""
    with pytest.raises(ProcedureError) as caught:
        await channel.call(procedure, args)
    return caught.value.errno_name, caught.value.message


async def check_devices(channel: Channel) -> None:
    sda, sda2, sdb = Device("/dev/sda"), Device("/dev/sda2"), Device("/dev/sdb")
    assert await channel.call(LIST_DEVICES, NoArgs()) == ["/dev/sda", "/dev/sdb"]
    assert await channel.call(NR_DEVICES, NoArgs()) == 2
    assert await channel.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1", "/dev/sda2"]
    assert await channel.call(IS_WHOLE_DEVICE, DeviceArgs(sda))
    assert not await channel.call(IS_WHOLE_DEVICE, DeviceArgs(sda2))
    assert await channel.call(BLOCKDEV_GETSIZE64, DeviceArgs(sdb)) == 16 << 20
    assert await channel.call(BLOCKDEV_GETSS, DeviceArgs(sda2)) == 512
    assert await channel.call(PART_GET_PARTTYPE, DeviceArgs(sda)) == "gpt"
    assert await channel.call(PART_GET_PARTTYPE, DeviceArgs(sdb)) == "loop"  # parted's word for no table at all
    first, second = await channel.call(PART_LIST, DeviceArgs(sda))
    assert first == Partition(1, 1 << 20, (17 << 20) - 1, 16 << 20)
    assert second.part_start == 17 << 20
    magic = await channel.call(PREAD_DEVICE, PreadDeviceArgs(sdb, 2, 1080))
    assert magic == b"\x53\xef"
    assert await channel.call(PREAD_DEVICE, PreadDeviceArgs(Device("/dev/vdb"), 2, 1080)) == magic
    empty = hashlib.md5(bytes(second.part_size)).hexdigest()
    assert await channel.call(CHECKSUM_DEVICE, CHECKSUM_DEVICE.args("md5", sda2)) == empty
    assert await channel.call(LVS, NoArgs()) == []
    assert (await refused(channel, LVM_CANONICAL_LV_NAME, LVM_CANONICAL_LV_NAME.args("/dev/sda1")))[0] == "EINVAL"
    assert await channel.call(INTERNAL_FEATURE_AVAILABLE, INTERNAL_FEATURE_AVAILABLE.args("lvm2")) == 0


async def check_filesystems(channel: Channel) -> None:
    sdb = Mountable("/dev/sdb")
    expected = [("/dev/sdb", "ext4"), ("/dev/sda1", "ext2"), ("/dev/sda2", "unknown")]
    assert await channel.call(LIST_FILESYSTEMS, NoArgs()) == expected
    assert await channel.call(VFS_TYPE, MountableArgs(sdb)) == "ext4"
    assert await channel.call(VFS_TYPE, MountableArgs(Mountable("/dev/sda2"))) == ""
    assert await channel.call(VFS_LABEL, MountableArgs(sdb)) == "the label"
    assert await channel.call(VFS_UUID, MountableArgs(sdb)) == UUID
    pairs: list[tuple[str, str]] = await channel.call(BLKID, DeviceArgs(Device("/dev/sdb")))
    tags = dict(pairs)
    assert (tags["TYPE"], tags["UUID"], tags["USAGE"]) == ("ext4", UUID, "filesystem")
    parsed = await channel.call(INTERNAL_PARSE_MOUNTABLE, MountableArgs(Mountable("btrfsvol:/dev/sda2/a/b")))
    assert parsed == InternalMountable(1, "/dev/sda2", "a/b")


async def test_devices_and_filesystems_are_told_by_their_wire_names(
    appliance_files: ApplianceFiles, drives: tuple[Drive, ...]
) -> None:
    async with launch(
        config_from_environment(drives, verbose=False), appliance_files, log=print, console=_ignore
    ) as appliance:
        await check_devices(appliance.channels[0])
        await check_filesystems(appliance.channels[-1])


async def test_mounts_are_shared_by_all_channels_and_stay_in_the_guests_root(
    appliance_files: ApplianceFiles, drives: tuple[Drive, ...], tmp_path: Path
) -> None:
    sda1, sdb = Mountable("/dev/sda1"), Mountable("/dev/sdb")
    root = PathArgs(GuestPath(b"/"))
    async with launch(
        config_from_environment(drives, verbose=False), appliance_files, log=print, console=_ignore
    ) as appliance:
        channel, other = appliance.channels[0], appliance.channels[-1]
        for each in (channel, other):
            assert "mount" in (await refused(each, EXISTS, root))[1]
        await channel.call(UMOUNT_ALL, NoArgs())
        missing = await refused(channel, MOUNT_RO, MountArgs(Mountable("/dev/sda9"), "/"))
        assert missing == ("ENOENT", "/dev/sda9: No such file or directory")
        assert await refused(channel, MOUNT_RO, MountArgs(Mountable("/dev/sdc"), "/")) == (
            "ENOENT",
            "/dev/sdc: No such file or directory",
        )
        assert (await refused(channel, MOUNT_RO, MountArgs(sda1, "/nowhere")))[0] == "ENOENT"
        assert (await refused(channel, MOUNT_RO, MountArgs(sda1, "relative")))[0] == ""
        errno_name, text = await refused(channel, MOUNT_VFS, MountVfsArgs("ro", "xfs", sda1, "/"))
        assert errno_name == ""
        assert text.startswith("/dev/sda1 on /: ")
        assert "dmesg" not in text

        await channel.call(MOUNT_OPTIONS, MountOptionsArgs("ro,noatime", sda1, "/"))
        assert await other.call(EXISTS, root)
        assert await other.call(READLINK, PathArgs(GuestPath(b"/evil"))) == b"/../../../../mnt"
        await other.call(MOUNT_RO, MountArgs(sdb, "/evil"))
        assert await channel.call(MOUNTPOINTS, NoArgs()) == [("/dev/sda1", "/"), ("/dev/sdb", "/mnt")]
        assert await channel.call(MOUNTS, NoArgs()) == ["/dev/sda1", "/dev/sdb"]
        assert await channel.call(EXISTS, PathArgs(GuestPath(b"/mnt/lost+found")))

        content = (tmp_path / "tree/big").read_bytes()
        for each in (channel, other):
            await each.hello()
            async with each.download(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/big"))) as pieces:
                assert b"".join([piece async for piece in pieces]) == content
        checksum = await other.call(CHECKSUM, ChecksumArgs("sha256", GuestPath(b"/big")))
        assert checksum == hashlib.sha256(content).hexdigest()
        # The node is that of the appliance's own disk.
        assert (await refused(channel, PREAD, PreadArgs(GuestPath(b"/disk"), 512, 0)))[0] == "EACCES"
        assert (await refused(channel, PREAD, PreadArgs(GuestPath(b"/fifo"), 512, 0)))[0] == "EINVAL"

        await channel.call(SYNC, NoArgs())
        await channel.call(UMOUNT, UmountArgs(DeviceOrPath(b"/evil")))
        assert await other.call(MOUNTS, NoArgs()) == ["/dev/sda1"]
        await other.call(UMOUNT, UmountArgs(DeviceOrPath(b"/dev/sda1"), lazyunmount=True))
        assert "mount" in (await refused(channel, EXISTS, root))[1]

        await channel.call(MOUNT_RO, MountArgs(sda1, "/"))
        await channel.call(MOUNT_RO, MountArgs(sdb, "/mnt"))
        await other.call(INTERNAL_AUTOSYNC, NoArgs())
        assert await channel.call(MOUNTS, NoArgs()) == []
