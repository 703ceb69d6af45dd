"""Calls whose work shows in no answer: what they did is looked for in the appliance, where it stays."""

import re
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs, PathArgs
from rpc.codec import Device, GuestPath, Mountable, MountableOrPath
from rpc.procedures import (
    BLOCKDEV_REREADPT,
    BTRFS_BALANCE_CANCEL,
    BTRFS_BALANCE_PAUSE,
    BTRFS_BALANCE_RESUME,
    BTRFS_BALANCE_STATUS,
    BTRFS_DEVICE_ADD,
    BTRFS_FILESYSTEM_BALANCE,
    BTRFS_FILESYSTEM_DEFRAGMENT,
    BTRFS_QGROUP_SHOW,
    BTRFS_QUOTA_ENABLE,
    BTRFS_QUOTA_RESCAN,
    BTRFS_SCRUB_CANCEL,
    BTRFS_SCRUB_RESUME,
    BTRFS_SCRUB_START,
    BTRFS_SCRUB_STATUS,
    BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS,
    BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS,
    DEBUG,
    E2FSCK_F,
    FSCK,
    FSTRIM,
    INTERNAL_WRITE,
    LIST_PARTITIONS,
    MKFS,
    MKFS_BTRFS,
    MOUNT,
    MOUNT_VFS,
    NTFSFIX,
    NTFSRESIZE,
    PART_DISK,
    STATVFS,
    SYNC,
    UMOUNT_ALL,
    VFS_MINIMUM_SIZE,
    WIPEFS,
)
from rpc.procedures.btrfs import (
    BtrfsDeviceAddArgs,
    BtrfsFilesystemDefragmentArgs,
    MkfsBtrfsArgs,
)
from rpc.procedures.btrfs_upkeep import (
    BtrfsFilesystemBalanceArgs,
    BtrfsQuotaEnableArgs,
    BtrfsQuotaRescanArgs,
)
from rpc.procedures.contents import InternalWriteArgs
from rpc.procedures.control import DebugArgs
from rpc.procedures.filesystems import FsckArgs, FstrimArgs, MkfsArgs
from rpc.procedures.mounting import MountArgs, MountVfsArgs
from rpc.procedures.ntfs import NtfsfixArgs, NtfsresizeArgs
from rpc.procedures.partitions import PartInitArgs
from tests.daemon.scratch import SIZES_MIB, Scratch

pytestmark = pytest.mark.appliance

SDA, SDB, SDH, SDI = (Device(f"/dev/sd{letter}") for letter in "abhi")
ON_SDB, ON_SDH = Mountable(SDB), Mountable(SDH)
ROOT, FILE = GuestPath(b"/"), GuestPath(b"/file")
MIB: Final = 1 << 20
SECTOR_BYTES: Final = 512


def shell(storage: Scratch, *words: str) -> str:
    return storage.call(DEBUG, DebugArgs("sh", list(words)))


def node(storage: Scratch, device: Device) -> str:
    """Return what the appliance itself calls a disk."""
    index = ord(device[-1]) - ord("a")
    return f"/dev/{shell(storage, f'ls /sys/bus/scsi/devices/*:0:{index}:0/block').strip()}"


def counted(storage: Scratch, device: Device) -> dict[str, int]:
    """Return the kernel's counters of a disk: Documentation/block/stat.rst."""
    numbers = shell(storage, f"cat /sys/block/{node(storage, device).removeprefix('/dev/')}/stat").split()
    return {"written": int(numbers[6]), "discarded": int(numbers[13]), "flushes": int(numbers[15])}


def test_sync_writes_files_out_and_has_every_disk_keep_it(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext4", SDB))
    storage.call(MOUNT, MountArgs(ON_SDB, "/"))
    storage.call(SYNC, NoArgs())
    storage.call(INTERNAL_WRITE, InternalWriteArgs(FILE, b"x" * MIB))
    files, disk = counted(storage, SDB), counted(storage, SDA)
    storage.call(SYNC, NoArgs())
    assert counted(storage, SDB)["written"] - files["written"] >= MIB // SECTOR_BYTES
    assert counted(storage, SDB)["flushes"] > files["flushes"]
    assert counted(storage, SDA)["flushes"] > disk["flushes"]


def test_fstrim_discards_what_is_free(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext4", SDB))
    storage.call(MOUNT, MountArgs(ON_SDB, "/"))
    before = counted(storage, SDB)["discarded"]
    storage.call(FSTRIM, FstrimArgs(ROOT, offset=0, length=64 * MIB))
    part = counted(storage, SDB)["discarded"] - before
    assert 0 < part <= 64 * MIB // SECTOR_BYTES
    assert "Invalid" in storage.refused(FSTRIM, FstrimArgs(ROOT, minimumfreeextent=1 << 40))[1]  # above a group's size
    storage.call(FSTRIM, FstrimArgs(ROOT))
    assert counted(storage, SDB)["discarded"] - before > 2 * part


def test_partition_table_is_read_again(storage: Scratch) -> None:
    storage.call(PART_DISK, PartInitArgs(SDA, "mbr"))
    assert storage.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1"]
    table = r"label: dos\nsize=4MiB\nsize=4MiB\n"
    shell(storage, f"printf '{table}' | sfdisk --quiet --no-reread --no-tell-kernel --force {node(storage, SDA)}")
    assert storage.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1"]
    storage.call(BLOCKDEV_REREADPT, DeviceArgs(SDA))
    assert storage.call(LIST_PARTITIONS, NoArgs()) == ["/dev/sda1", "/dev/sda2"]
    storage.call(WIPEFS, DeviceArgs(SDA))


def test_filesystem_is_mounted_with_its_options_and_type(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext2", SDB))
    storage.call(MOUNT_VFS, MountVfsArgs("noatime,ro", "ext4", ON_SDB, "/"))
    (line,) = [line for line in shell(storage, "cat /proc/mounts").splitlines() if line.startswith(node(storage, SDB))]
    _, _, fstype, options, *_ = line.split()
    assert fstype == "ext4"  # which mounts ext2 too, and would not have been chosen
    assert {"noatime", "ro"} <= set(options.split(","))


def test_e2fsck_f_repairs(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext2", SDB, blocksize=4096))
    shell(storage, f"debugfs -w -R 'set_inode_field <2> links_count 9' {node(storage, SDB)}")
    assert "still has errors" in shell(storage, f"e2fsck -fn {node(storage, SDB)} || true")
    storage.call(E2FSCK_F, DeviceArgs(SDB))
    assert "still has errors" not in shell(storage, f"e2fsck -fn {node(storage, SDB)}")
    assert storage.call(FSCK, FsckArgs("ext2", SDB)) == 0


def test_ntfsfix_asks_for_a_check_and_ntfsresize_takes_the_whole_device(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ntfs", SDB))
    storage.call(NTFSRESIZE, NtfsresizeArgs(SDB, size=100 * MIB))

    def size() -> int:
        storage.call(MOUNT, MountArgs(ON_SDB, "/"))
        room = storage.call(STATVFS, PathArgs(ROOT))
        storage.call(UMOUNT_ALL, NoArgs())
        return room.blocks * room.frsize

    assert size() <= 100 * MIB
    storage.call(NTFSRESIZE, NtfsresizeArgs(SDB, force=True))
    assert size() > (SIZES_MIB[1] - 1) * MIB
    storage.call(MKFS, MkfsArgs("ntfs", SDB))
    assert storage.call(VFS_MINIMUM_SIZE, MountableArgs(ON_SDB)) > 0
    storage.call(NTFSFIX, NtfsfixArgs(SDB))
    assert storage.refused(NTFSRESIZE, NtfsresizeArgs(SDB, size=100 * MIB))[0] == ""


@pytest.fixture
def pool(storage: Scratch) -> Iterator[Scratch]:
    """Mount a new btrfs with 64 MiB in it."""
    storage.call(MKFS_BTRFS, MkfsBtrfsArgs([SDH], metadata="single", datatype="single"))
    storage.call(MOUNT, MountArgs(ON_SDH, "/"))
    # Different bytes everywhere, which nothing compresses.
    shell(storage, "head -c 64M /dev/urandom >/sysroot/file && sync")
    yield storage
    storage.call(UMOUNT_ALL, NoArgs())


def test_balance_spreads_data_over_the_devices(pool: Scratch) -> None:
    def used() -> str:
        return shell(pool, f"btrfs device usage --raw /sysroot | sed -n '/{node(pool, SDI)[5:]},/,$p'")

    pool.call(BTRFS_DEVICE_ADD, BtrfsDeviceAddArgs([SDI], ROOT))
    assert "Data" not in used()
    pool.call(BTRFS_FILESYSTEM_BALANCE, BtrfsFilesystemBalanceArgs(ROOT))
    assert re.search(r"Data,single:\s+[1-9]", used())


def test_balance_is_paused_resumed_and_cancelled(pool: Scratch) -> None:
    def state() -> str:
        return str(pool.call(BTRFS_BALANCE_STATUS, PathArgs(ROOT)).btrfsbalance_status)

    pool.call(BTRFS_DEVICE_ADD, BtrfsDeviceAddArgs([SDI], ROOT))
    shell(pool, "btrfs balance start --full-balance --background /sysroot")
    pool.call(BTRFS_BALANCE_PAUSE, PathArgs(ROOT))
    assert state() == "paused"
    pool.call(BTRFS_BALANCE_RESUME, PathArgs(ROOT))
    assert state() == "none"
    shell(pool, "btrfs balance start --full-balance --background /sysroot")
    pool.call(BTRFS_BALANCE_PAUSE, PathArgs(ROOT))
    pool.call(BTRFS_BALANCE_CANCEL, PathArgs(ROOT))
    assert state() == "none"


def test_scrub_is_started_cancelled_and_resumed(pool: Scratch) -> None:
    def done() -> int:
        return int(pool.call(BTRFS_SCRUB_STATUS, PathArgs(ROOT)).btrfsscrub_data_bytes_scrubbed)

    def limit(mib_per_second: int) -> None:
        shell(pool, f"echo {mib_per_second}M >$(echo /sys/fs/btrfs/*-*/devinfo/1/scrub_speed_max)")

    def state() -> str:
        return shell(pool, "btrfs scrub status /sysroot | sed -n 's/^Status: *//p'").strip()

    limit(8)
    pool.call(BTRFS_SCRUB_START, PathArgs(ROOT))
    deadline = time.monotonic() + 10
    while (found := state()) != "running" and time.monotonic() < deadline:
        assert found == ""  # it has only just begun
    pool.call(BTRFS_SCRUB_CANCEL, PathArgs(ROOT))
    assert state() == "aborted"
    assert done() < 64 * MIB
    limit(0)
    pool.call(BTRFS_SCRUB_RESUME, PathArgs(ROOT))
    shell(pool, 'while [ "$(btrfs scrub status /sysroot | sed -n /running/p)" ]; do sleep 0.1; done')
    assert state() == "finished"
    assert done() >= 64 * MIB  # and what was under way when it was given up, twice


def test_quotas_are_counted_again(pool: Scratch) -> None:
    fs = MountableOrPath(b"/")
    pool.call(BTRFS_QUOTA_ENABLE, BtrfsQuotaEnableArgs(fs, True))
    pool.call(BTRFS_QUOTA_RESCAN, BtrfsQuotaRescanArgs(fs))
    shell(pool, "btrfs subvolume create /sysroot/s && head -c 1M /dev/urandom >/sysroot/s/file && sync")
    # What is shared cannot be added up: it takes a count of all there is.
    shell(pool, "btrfs subvolume snapshot /sysroot/s /sysroot/t && sync")
    shell(pool, "btrfs qgroup create 1/7 /sysroot && btrfs qgroup assign --no-rescan 0/256 1/7 /sysroot || true")

    def counted_bytes() -> int:
        (row,) = [row for row in pool.call(BTRFS_QGROUP_SHOW, PathArgs(ROOT)) if row.btrfsqgroup_id == "1/7"]
        return int(row.btrfsqgroup_rfer)

    assert counted_bytes() == 0
    pool.call(BTRFS_QUOTA_RESCAN, BtrfsQuotaRescanArgs(fs))
    assert counted_bytes() > MIB


def test_files_are_compressed_while_they_are_defragmented(pool: Scratch) -> None:
    shell(pool, "yes | head -c 4M >/sysroot/text && sync")

    def extents() -> str:
        return shell(pool, "filefrag -v /sysroot/text")

    assert "encoded" not in extents()
    pool.call(BTRFS_FILESYSTEM_DEFRAGMENT, BtrfsFilesystemDefragmentArgs(ROOT, flush=True, compress="zlib"))
    assert "encoded" in extents()


def superblock(storage: Scratch) -> str:
    return shell(storage, f"btrfs inspect-internal dump-super {node(storage, SDH)}")


def test_btrfstune_switches_features_on(storage: Scratch) -> None:
    shell(storage, f"mkfs.btrfs -q -f -O ^extref,^skinny-metadata {node(storage, SDH)}")
    tuned: tuple[tuple[Any, str], ...] = (
        (BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS, "EXTENDED_IREF"),
        (BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS, "SKINNY_METADATA"),
    )
    for procedure, flag in tuned:
        assert flag not in superblock(storage)
        storage.call(procedure, DeviceArgs(SDH))
        assert flag in superblock(storage)
