"""btrfs in a real appliance: subvolumes, devices, quotas."""

from collections.abc import Iterator

import pytest

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs, PathArgs
from rpc.codec import Device, GuestPath, Mountable, MountableOrPath
from rpc.procedures import (
    BTRFS_BALANCE_CANCEL,
    BTRFS_BALANCE_PAUSE,
    BTRFS_BALANCE_RESUME,
    BTRFS_BALANCE_STATUS,
    BTRFS_DEVICE_ADD,
    BTRFS_DEVICE_DELETE,
    BTRFS_FILESYSTEM_BALANCE,
    BTRFS_FILESYSTEM_DEFRAGMENT,
    BTRFS_FILESYSTEM_RESIZE,
    BTRFS_FILESYSTEM_SHOW,
    BTRFS_FILESYSTEM_SYNC,
    BTRFS_FSCK,
    BTRFS_IMAGE,
    BTRFS_QGROUP_ASSIGN,
    BTRFS_QGROUP_CREATE,
    BTRFS_QGROUP_DESTROY,
    BTRFS_QGROUP_LIMIT,
    BTRFS_QGROUP_REMOVE,
    BTRFS_QGROUP_SHOW,
    BTRFS_QUOTA_ENABLE,
    BTRFS_QUOTA_RESCAN,
    BTRFS_REPLACE,
    BTRFS_RESCUE_SUPER_RECOVER,
    BTRFS_SCRUB_CANCEL,
    BTRFS_SCRUB_FULL,
    BTRFS_SCRUB_RESUME,
    BTRFS_SCRUB_STATUS,
    BTRFS_SET_SEEDING,
    BTRFS_SUBVOLUME_CREATE,
    BTRFS_SUBVOLUME_DELETE,
    BTRFS_SUBVOLUME_GET_DEFAULT,
    BTRFS_SUBVOLUME_LIST,
    BTRFS_SUBVOLUME_SET_DEFAULT,
    BTRFS_SUBVOLUME_SHOW,
    BTRFS_SUBVOLUME_SNAPSHOT,
    BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS,
    BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS,
    BTRFSTUNE_SEEDING,
    COVER,
    EXISTS,
    FILESIZE,
    INSPECT_OS,
    INTERNAL_WRITE,
    LIST_FILESYSTEMS,
    MKFIFO,
    MKFS,
    MKFS_BTRFS,
    MOUNT,
    MOUNTPOINTS,
    PWRITE_DEVICE,
    STATVFS,
    UMOUNT_ALL,
    VFS_LABEL,
    VFS_MINIMUM_SIZE,
    WIPEFS,
)
from rpc.procedures.attributes import FilesizeArgs
from rpc.procedures.btrfs import (
    BtrfsDeviceAddArgs,
    BtrfsFilesystemDefragmentArgs,
    BtrfsFilesystemResizeArgs,
    BtrfsFilesystemSyncArgs,
    BtrfsFsckArgs,
    BtrfsImageArgs,
    BtrfsReplaceArgs,
    BtrfsSubvolumeCreateArgs,
    BtrfsSubvolumeDeleteArgs,
    BtrfsSubvolumeListArgs,
    BtrfsSubvolumeSetDefaultArgs,
    BtrfsSubvolumeSnapshotArgs,
    MkfsBtrfsArgs,
)
from rpc.procedures.btrfs_upkeep import (
    Btrfsbalance,
    BtrfsFilesystemBalanceArgs,
    BtrfsQgroupAssignArgs,
    BtrfsQgroupCreateArgs,
    BtrfsQgroupLimitArgs,
    BtrfsQuotaEnableArgs,
    BtrfsQuotaRescanArgs,
    BtrfsScrubFullArgs,
    BtrfsSetSeedingArgs,
)
from rpc.procedures.contents import InternalWriteArgs, PwriteDeviceArgs
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.mounting import MountArgs
from rpc.procedures.names import ChmodArgs
from tests.daemon.scratch import SIZES_MIB, Scratch

pytestmark = pytest.mark.appliance

SDH, SDI = Device("/dev/sdh"), Device("/dev/sdi")
ON_SDH = Mountable("/dev/sdh")
ROOT = GuestPath(b"/")
A, B = GuestPath(b"/a"), GuestPath(b"/a/b")
MIB = 1 << 20


@pytest.fixture
def mounted(storage: Scratch) -> Iterator[Scratch]:
    """Mount a new filesystem on sdh with the subvolumes a and a/b."""
    storage.call(MKFS_BTRFS, MkfsBtrfsArgs([SDH], label="pool", nodesize=16384))
    storage.call(MOUNT, MountArgs(ON_SDH, "/"))
    storage.call(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(A))
    storage.call(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(B))
    yield storage
    storage.call(UMOUNT_ALL, NoArgs())


def listed(storage: Scratch, fs: bytes) -> list[tuple[int, str]]:
    rows = storage.call(BTRFS_SUBVOLUME_LIST, BtrfsSubvolumeListArgs(MountableOrPath(fs)))
    return [(row.btrfssubvolume_top_level_id, row.btrfssubvolume_path) for row in rows]


def test_subvolumes_are_made_listed_and_removed(mounted: Scratch) -> None:
    assert mounted.call(VFS_LABEL, MountableArgs(ON_SDH)) == "pool"
    assert listed(mounted, b"/") == [(5, "a"), (256, "a/b")]
    mounted.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/a/file"), b"text"))
    copy = GuestPath(b"/copy")
    mounted.call(BTRFS_SUBVOLUME_SNAPSHOT, BtrfsSubvolumeSnapshotArgs(A, copy, ro=True))
    assert mounted.call(EXISTS, PathArgs(GuestPath(b"/copy/file")))
    assert mounted.refused(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/copy/new"), b""))[0] == "EROFS"
    told = mounted.table(BTRFS_SUBVOLUME_SHOW, BtrfsSubvolumeDeleteArgs(A))
    assert (told["Name"], told["Subvolume ID"], told["Snapshot(s)"]) == ("a", "256", "copy")
    mounted.call(BTRFS_SUBVOLUME_DELETE, BtrfsSubvolumeDeleteArgs(B))
    assert listed(mounted, b"/") == [(5, "a"), (5, "copy")]
    assert mounted.refused(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(A))[0] == ""
    assert mounted.refused(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(ROOT))[0] == ""


def test_subvolumes_can_be_mounted(mounted: Scratch) -> None:
    mounted.call(UMOUNT_ALL, NoArgs())
    assert listed(mounted, b"/dev/sdh") == [(5, "a"), (256, "a/b")]
    rows = [row for row in mounted.call(LIST_FILESYSTEMS, NoArgs()) if "/dev/sdh" in row[0]]
    assert rows == [("/dev/sdh", "btrfs"), ("btrfsvol:/dev/sdh/a", "btrfs"), ("btrfsvol:/dev/sdh/a/b", "btrfs")]
    assert mounted.call(MOUNTPOINTS, NoArgs()) == []
    mounted.call(MOUNT, MountArgs(Mountable("btrfsvol:/dev/sdh/a"), "/"))
    assert mounted.call(EXISTS, PathArgs(GuestPath(b"/b")))


def test_name_of_a_subvolume_is_no_mount_option(mounted: Scratch) -> None:
    odd = GuestPath(b'/a,ro,"x')
    mounted.call(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(odd))
    mounted.call(BTRFS_SUBVOLUME_CREATE, BtrfsSubvolumeCreateArgs(GuestPath(odd + b"/inner")))
    mounted.call(UMOUNT_ALL, NoArgs())
    assert 'btrfsvol:/dev/sdh/a,ro,"x' in mounted.table(LIST_FILESYSTEMS, NoArgs())
    mounted.call(MOUNT, MountArgs(Mountable('btrfsvol:/dev/sdh/a,ro,"x'), "/"))
    assert mounted.call(EXISTS, PathArgs(GuestPath(b"/inner")))
    mounted.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/file"), b""))
    mounted.call(UMOUNT_ALL, NoArgs())
    assert "no such" in mounted.refused(MOUNT, MountArgs(Mountable("btrfsvol:/dev/sdh/x,y"), "/"))[1]


def test_default_subvolume_is_chosen(mounted: Scratch) -> None:
    args = BtrfsSubvolumeListArgs(MountableOrPath(b"/dev/sdh"))
    assert mounted.call(BTRFS_SUBVOLUME_GET_DEFAULT, args) == 5
    mounted.call(BTRFS_SUBVOLUME_SET_DEFAULT, BtrfsSubvolumeSetDefaultArgs(256, ROOT))
    assert mounted.call(BTRFS_SUBVOLUME_GET_DEFAULT, BtrfsSubvolumeListArgs(MountableOrPath(b"/"))) == 256
    mounted.call(UMOUNT_ALL, NoArgs())
    rows = [row[0] for row in mounted.call(LIST_FILESYSTEMS, NoArgs()) if "/dev/sdh" in row[0]]
    assert rows == ["/dev/sdh", "btrfsvol:/dev/sdh/a/b"]


def test_subvolume_is_covered_until_it_is_unmounted(mounted: Scratch) -> None:
    mounted.call(COVER, PathArgs(A))
    assert not mounted.call(EXISTS, PathArgs(B))
    assert mounted.refused(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/a/new"), b""))[0] == "EROFS"
    mounted.call(UMOUNT_ALL, NoArgs())
    assert mounted.call(MOUNTPOINTS, NoArgs()) == []
    mounted.call(MOUNT, MountArgs(Mountable("btrfsvol:/dev/sdh//"), "/"))
    assert mounted.call(EXISTS, PathArgs(B))
    assert mounted.refused(COVER, PathArgs(GuestPath(b"/none")))[0] == "ENOENT"


def test_filesystem_is_resized_and_spread_over_devices(mounted: Scratch) -> None:
    def size() -> int:
        room = mounted.call(STATVFS, PathArgs(ROOT))
        return room.blocks * room.frsize

    def devices() -> list[str]:
        return mounted.call(BTRFS_FILESYSTEM_SHOW, DeviceArgs(SDH))

    whole = size()
    least = mounted.call(VFS_MINIMUM_SIZE, MountableArgs(ON_SDH))
    assert 0 < least <= whole
    mounted.call(BTRFS_FILESYSTEM_RESIZE, BtrfsFilesystemResizeArgs(ROOT, size=260 * MIB))
    assert size() == 260 * MIB
    mounted.call(BTRFS_FILESYSTEM_RESIZE, BtrfsFilesystemResizeArgs(ROOT))
    assert size() == whole == SIZES_MIB[7] * MIB
    mounted.call(BTRFS_DEVICE_ADD, BtrfsDeviceAddArgs([SDI], ROOT))
    assert devices() == ["/dev/sdh", "/dev/sdi"]
    assert size() == whole + SIZES_MIB[8] * MIB
    mounted.call(BTRFS_FILESYSTEM_BALANCE, BtrfsFilesystemBalanceArgs(ROOT))
    mounted.call(BTRFS_DEVICE_DELETE, BtrfsDeviceAddArgs([SDI], ROOT))
    assert devices() == ["/dev/sdh"]
    mounted.call(BTRFS_REPLACE, BtrfsReplaceArgs(SDH, SDI, ROOT))
    assert mounted.call(BTRFS_FILESYSTEM_SHOW, DeviceArgs(SDI)) == ["/dev/sdi"]
    mounted.call(BTRFS_FILESYSTEM_SYNC, BtrfsFilesystemSyncArgs(ROOT))
    mounted.call(BTRFS_FILESYSTEM_DEFRAGMENT, BtrfsFilesystemDefragmentArgs(ROOT, flush=True, compress="zlib"))
    assert (
        "zlib"
        in mounted.refused(BTRFS_FILESYSTEM_DEFRAGMENT, BtrfsFilesystemDefragmentArgs(ROOT, compress="nosuch"))[1]
    )
    for procedure in (BTRFS_BALANCE_PAUSE, BTRFS_BALANCE_RESUME, BTRFS_BALANCE_CANCEL):
        assert mounted.refused(procedure, PathArgs(ROOT))[0] == ""  # none is under way


def test_quotas_are_counted_and_limited(mounted: Scratch) -> None:
    def groups() -> list[str]:
        return [row.btrfsqgroup_id for row in mounted.call(BTRFS_QGROUP_SHOW, PathArgs(ROOT))]

    fs = MountableOrPath(b"/")
    assert mounted.refused(BTRFS_QGROUP_SHOW, PathArgs(ROOT))[0] == ""
    mounted.call(BTRFS_QUOTA_ENABLE, BtrfsQuotaEnableArgs(fs, True))
    mounted.call(BTRFS_QUOTA_RESCAN, BtrfsQuotaRescanArgs(fs))
    assert groups() == ["0/5", "0/256", "0/257"]
    assert all(row.btrfsqgroup_rfer > 0 for row in mounted.call(BTRFS_QGROUP_SHOW, PathArgs(ROOT)))
    mounted.call(BTRFS_QGROUP_CREATE, BtrfsQgroupCreateArgs("1/7", ROOT))
    assert groups()[-1] == "1/7"
    mounted.call(BTRFS_QGROUP_ASSIGN, BtrfsQgroupAssignArgs("0/256", "1/7", ROOT))
    assert mounted.refused(BTRFS_QGROUP_DESTROY, BtrfsQgroupCreateArgs("1/7", ROOT))[0] == ""
    mounted.call(BTRFS_QGROUP_REMOVE, BtrfsQgroupAssignArgs("0/256", "1/7", ROOT))
    mounted.call(BTRFS_QGROUP_DESTROY, BtrfsQgroupCreateArgs("1/7", ROOT))
    assert groups() == ["0/5", "0/256", "0/257"]
    mounted.call(BTRFS_QGROUP_LIMIT, BtrfsQgroupLimitArgs(A, MIB))
    errno_name, _ = mounted.refused(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/a/big"), bytes(2 * MIB)))
    assert errno_name == "EDQUOT"
    mounted.call(BTRFS_QUOTA_ENABLE, BtrfsQuotaEnableArgs(fs, False))
    assert mounted.refused(BTRFS_QGROUP_SHOW, PathArgs(ROOT))[0] == ""


def test_filesystem_is_tuned_checked_and_rescued(mounted: Scratch) -> None:
    mounted.call(UMOUNT_ALL, NoArgs())
    mounted.call(BTRFS_FSCK, BtrfsFsckArgs(SDH))
    for seeding in (BTRFS_SET_SEEDING, BTRFSTUNE_SEEDING):
        mounted.call(seeding, BtrfsSetSeedingArgs(SDH, True))
        mounted.call(MOUNT, MountArgs(ON_SDH, "/"))
        assert mounted.refused(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/new"), b""))[0] == "EROFS"
        mounted.call(UMOUNT_ALL, NoArgs())
        mounted.call(seeding, BtrfsSetSeedingArgs(SDH, False))
    mounted.call(BTRFSTUNE_ENABLE_EXTENDED_INODE_REFS, DeviceArgs(SDH))
    mounted.call(BTRFSTUNE_ENABLE_SKINNY_METADATA_EXTENT_REFS, DeviceArgs(SDH))
    mounted.call(PWRITE_DEVICE, PwriteDeviceArgs(SDH, bytes(4096), 64 << 10))  # the first superblock
    assert mounted.refused(BTRFS_FSCK, BtrfsFsckArgs(SDH))[0] == ""
    mounted.call(BTRFS_FSCK, BtrfsFsckArgs(SDH, superblock=1))
    mounted.call(BTRFS_RESCUE_SUPER_RECOVER, DeviceArgs(SDH))
    mounted.call(BTRFS_FSCK, BtrfsFsckArgs(SDH))
    assert listed(mounted, b"/dev/sdh") == [(5, "a"), (256, "a/b")]


def test_several_devices_make_one_filesystem(storage: Scratch) -> None:
    storage.call(MKFS_BTRFS, MkfsBtrfsArgs([SDH, SDI], datatype="raid1", metadata="raid1", label="two"))
    assert storage.call(BTRFS_FILESYSTEM_SHOW, DeviceArgs(SDI)) == ["/dev/sdh", "/dev/sdi"]
    storage.call(MOUNT, MountArgs(Mountable("/dev/sdi"), "/"))
    storage.call(UMOUNT_ALL, NoArgs())
    assert storage.refused(MKFS_BTRFS, MkfsBtrfsArgs([]))[0] == ""


def test_incomplete_filesystem_hides_no_other(storage: Scratch) -> None:
    storage.call(MKFS_BTRFS, MkfsBtrfsArgs([SDH, SDI]))
    storage.call(WIPEFS, DeviceArgs(SDI))
    storage.call(MKFS, MkfsArgs("ext2", SDI))
    rows = storage.table(LIST_FILESYSTEMS, NoArgs())
    assert (rows[SDH], rows[SDI]) == ("btrfs", "ext2")
    assert SDH not in storage.call(INSPECT_OS, NoArgs())


def test_everything_is_read_and_verified(mounted: Scratch) -> None:
    mounted.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/file"), b"x" * MIB))
    mounted.call(BTRFS_FILESYSTEM_SYNC, BtrfsFilesystemSyncArgs(ROOT))
    before = mounted.call(BTRFS_SCRUB_STATUS, PathArgs(ROOT))
    assert set(before) == {0}
    mounted.call(BTRFS_SCRUB_FULL, BtrfsScrubFullArgs(ROOT, readonly=True))
    done = mounted.call(BTRFS_SCRUB_STATUS, PathArgs(ROOT))
    assert done.btrfsscrub_data_bytes_scrubbed == MIB
    assert (done.btrfsscrub_csum_errors, done.btrfsscrub_tree_extents_scrubbed > 0) == (0, True)
    for procedure in (BTRFS_SCRUB_CANCEL, BTRFS_SCRUB_RESUME):
        assert mounted.refused(procedure, PathArgs(ROOT))[0] == ""  # none is under way, nor given up
    assert mounted.call(BTRFS_BALANCE_STATUS, PathArgs(ROOT)) == Btrfsbalance("none", 0, 0, 0, 0)


def test_metadata_are_copied_into_a_file(storage: Scratch) -> None:
    storage.call(MKFS_BTRFS, MkfsBtrfsArgs([SDI]))
    storage.call(MKFS, MkfsArgs("ext2", SDH))
    storage.call(MOUNT, MountArgs(ON_SDH, "/"))
    image = GuestPath(b"/image")
    storage.call(BTRFS_IMAGE, BtrfsImageArgs([SDI], image, compresslevel=1))
    assert storage.call(FILESIZE, FilesizeArgs(image)) > 1024
    assert "no devices" in storage.refused(BTRFS_IMAGE, BtrfsImageArgs([], image))[1]
    storage.call(MKFIFO, ChmodArgs(0o600, GuestPath(b"/fifo")))
    assert storage.refused(BTRFS_IMAGE, BtrfsImageArgs([SDI], GuestPath(b"/fifo")))[0] == "ENXIO"
