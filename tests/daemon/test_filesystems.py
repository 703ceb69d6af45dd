"""Filesystems in a real appliance: made, found, named, checked, mounted, resized."""

from pathlib import Path

import pytest

from rpc.arguments import DeviceArgs, MountableArgs, NoArgs, PathArgs
from rpc.codec import Device, DeviceOrPath, GuestPath, Mountable
from rpc.errors import ProcedureError
from rpc.procedures import (
    DF,
    DF_H,
    E2FSCK,
    E2FSCK_F,
    EXISTS,
    FILESYSTEM_AVAILABLE,
    FINDFS_LABEL,
    FINDFS_UUID,
    FSCK,
    FSTRIM,
    GET_E2LABEL,
    GET_E2UUID,
    INTERNAL_AUTOSYNC,
    INTERNAL_WRITE,
    IS_ZERO_DEVICE,
    LIST_FILESYSTEMS,
    MKE2FS,
    MKFS,
    MKFS_B,
    MKMOUNTPOINT,
    MKSWAP,
    MOUNT,
    MOUNT_LOOP,
    MOUNT_RO,
    MOUNTPOINTS,
    MOUNTS,
    NTFS_3G_PROBE,
    NTFSCLONE_IN,
    NTFSCLONE_OUT,
    NTFSFIX,
    NTFSRESIZE,
    NTFSRESIZE_SIZE,
    PREAD_DEVICE,
    PWRITE_DEVICE,
    REMOUNT,
    RESIZE2FS,
    RESIZE2FS_M,
    RESIZE2FS_SIZE,
    RMMOUNTPOINT,
    SET_E2LABEL,
    SET_E2UUID,
    SET_LABEL,
    SET_UUID,
    SET_UUID_RANDOM,
    STATVFS,
    TUNE2FS,
    TUNE2FS_L,
    UMOUNT,
    UMOUNT_ALL,
    VFS_LABEL,
    VFS_MINIMUM_SIZE,
    VFS_TYPE,
    VFS_UUID,
    WIPEFS,
    XFS_ADMIN,
    XFS_GROWFS,
    XFS_INFO,
    XFS_REPAIR,
)
from rpc.procedures.contents import InternalWriteArgs, PreadDeviceArgs, PwriteDeviceArgs
from rpc.procedures.devices import FindfsLabelArgs, FindfsUuidArgs
from rpc.procedures.ext2 import (
    E2fsckArgs,
    Mke2fsArgs,
    Resize2fsSizeArgs,
    SetE2labelArgs,
    SetE2uuidArgs,
    Tune2fsArgs,
)
from rpc.procedures.filesystems import (
    FilesystemAvailableArgs,
    FsckArgs,
    FstrimArgs,
    MkfsArgs,
    MkfsBArgs,
    MkswapArgs,
    SetLabelArgs,
    SetUuidArgs,
)
from rpc.procedures.mounting import MkmountpointArgs, MountArgs, MountLoopArgs, RemountArgs, UmountArgs
from rpc.procedures.ntfs import Ntfs3gProbeArgs, NtfscloneOutArgs, NtfsfixArgs, NtfsresizeArgs, NtfsresizeSizeArgs
from rpc.procedures.xfs import XfsAdminArgs, XfsGrowfsArgs, XfsInfoArgs, XfsRepairArgs
from tests.daemon.scratch import SIZES_MIB, Scratch

pytestmark = pytest.mark.appliance

SDA, SDB = Device("/dev/sda"), Device("/dev/sdb")
ON_SDB = Mountable("/dev/sdb")
ROOT = GuestPath(b"/")
MIB = 1 << 20
UUID = "12345678-1234-4321-8765-0123456789ab"
OTHER_UUID = "abcdef01-1234-4321-8765-0123456789ab"


def tags(storage: Scratch) -> tuple[str, str]:
    args = MountableArgs(ON_SDB)
    return storage.call(VFS_TYPE, args), storage.call(VFS_LABEL, args)


@pytest.mark.parametrize(
    ("fstype", "label"), [("ext2", "e2"), ("ext4", "e4"), ("xfs", "x"), ("btrfs", "b"), ("vfat", "FAT"), ("ntfs", "nt")]
)
def test_filesystem_is_made_named_and_mounted(storage: Scratch, fstype: str, label: str) -> None:
    storage.call(MKFS, MkfsArgs(fstype, SDB, label=label))
    assert tags(storage) == (fstype, label)
    assert storage.call(FINDFS_LABEL, FindfsLabelArgs(label)) == "/dev/sdb"
    other = label.upper()[::-1]
    storage.call(SET_LABEL, SetLabelArgs(ON_SDB, other))
    assert tags(storage) == (fstype, other)
    before = storage.call(VFS_UUID, MountableArgs(ON_SDB))
    assert storage.call(FINDFS_UUID, FindfsUuidArgs(before)) == "/dev/sdb"
    if fstype == "vfat":
        assert storage.refused(SET_UUID_RANDOM, DeviceArgs(SDB))[0] == "ENOTSUP"
    else:
        storage.call(SET_UUID_RANDOM, DeviceArgs(SDB))
        assert storage.call(VFS_UUID, MountableArgs(ON_SDB)) not in ("", before)
    assert ("/dev/sdb", fstype) in storage.call(LIST_FILESYSTEMS, NoArgs())
    storage.call(MOUNT, MountArgs(ON_SDB, "/"))
    storage.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/file"), b"content"))
    storage.call(UMOUNT_ALL, NoArgs())
    storage.call(MOUNT_RO, MountArgs(ON_SDB, "/"))
    assert storage.call(EXISTS, PathArgs(GuestPath(b"/file")))
    storage.call(UMOUNT_ALL, NoArgs())


def test_options_of_mkfs_reach_the_filesystem(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext4", SDB, blocksize=1024, features="^64bit", inode=512))
    told = storage.table(TUNE2FS_L, DeviceArgs(SDB))
    assert (told["Block size"], told["Inode size"]) == ("1024", "512")
    assert "64bit" not in told["Filesystem features"].split()
    for args, text in (
        (MkfsArgs("vfat", SDB, sectorsize=1024), "only ufs"),
        (MkfsArgs("vfat", SDB, features="x"), "ext2, ext3 and ext4"),
        (MkfsArgs("ntfs", SDB, inode=512), "ext4 and xfs"),
        (MkfsArgs("btrfs", SDB, blocksize=4096), "mkfs_btrfs"),
        (MkfsArgs("ext3", SDB, label="x" * 17), "16 bytes"),
    ):
        assert text in storage.refused(MKFS, args)[1]
    assert tags(storage)[0] == "ext4"  # nothing was wiped for what cannot be
    storage.call(MKFS, MkfsArgs("vfat", SDB, blocksize=8192))
    assert storage.call(PREAD_DEVICE, PreadDeviceArgs(SDB, 1, 13)) == b"\x10"  # sectors in a cluster
    storage.call(MKFS_B, MkfsBArgs("ext2", 2048, SDB))
    assert storage.table(TUNE2FS_L, DeviceArgs(SDB))["Block size"] == "2048"
    assert "power of two" in storage.refused(MKFS, MkfsArgs("ext2", SDB, blocksize=1000))[1]
    assert "mkfs.nosuch" in storage.refused(MKFS, MkfsArgs("nosuch", SDB))[1]
    assert tags(storage)[0] == "ext2"  # nothing was wiped for it
    assert "not the name" in storage.refused(MKFS, MkfsArgs("../ext2", SDB))[1]


def test_ext_filesystem_is_tuned_and_resized(storage: Scratch) -> None:
    storage.call(MKE2FS, Mke2fsArgs(SDB, blockscount=20000, blocksize=4096, fstype="ext3", label="mine", extent=True))
    told = storage.table(TUNE2FS_L, DeviceArgs(SDB))
    assert (told["Block count"], told["Last mounted on"]) == ("20000", "<not available>"[:0])
    assert {"has_journal", "extent"} <= set(told["Filesystem features"].split())
    assert storage.call(GET_E2LABEL, DeviceArgs(SDB)) == "mine"
    storage.call(SET_E2LABEL, SetE2labelArgs(SDB, "yours"))
    assert storage.call(GET_E2LABEL, DeviceArgs(SDB)) == "yours"
    storage.call(SET_E2UUID, SetE2uuidArgs(SDB, UUID))
    assert storage.call(GET_E2UUID, DeviceArgs(SDB)) == UUID
    storage.call(SET_UUID, SetUuidArgs(SDB, OTHER_UUID))
    assert storage.call(GET_E2UUID, DeviceArgs(SDB)) == OTHER_UUID
    storage.call(TUNE2FS, Tune2fsArgs(SDB, maxmountcount=17, errorbehavior="remount-ro"))
    told = storage.table(TUNE2FS_L, DeviceArgs(SDB))
    assert (told["Maximum mount count"], told["Errors behavior"]) == ("17", "Remount read-only")

    def block_count() -> int:
        return int(storage.table(TUNE2FS_L, DeviceArgs(SDB))["Block count"])

    storage.call(E2FSCK_F, DeviceArgs(SDB))
    least = storage.call(VFS_MINIMUM_SIZE, MountableArgs(ON_SDB))
    assert MIB < least < 20000 * 4096
    storage.call(RESIZE2FS_SIZE, Resize2fsSizeArgs(SDB, 40 * MIB))
    assert block_count() == 40 * MIB // 4096
    storage.call(RESIZE2FS_M, DeviceArgs(SDB))
    assert block_count() < 40 * MIB // 4096
    storage.call(RESIZE2FS, DeviceArgs(SDB))
    assert block_count() == SIZES_MIB[1] * MIB // 4096


def test_damage_is_found_and_repaired(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext2", SDB, blocksize=4096))
    assert storage.call(FSCK, FsckArgs("ext2", SDB)) == 0
    storage.call(PWRITE_DEVICE, PwriteDeviceArgs(SDB, b"\xff" * 64, 1024 + 0x0C))  # the superblock's free counts
    assert storage.refused(E2FSCK, E2fsckArgs(SDB))[0] == ""
    assert "exclude" in storage.refused(E2FSCK, E2fsckArgs(SDB, correct=True, forceall=True))[1]
    storage.call(E2FSCK, E2fsckArgs(SDB, forceall=True))
    storage.call(E2FSCK, E2fsckArgs(SDB, correct=True))
    assert storage.call(FSCK, FsckArgs("ext2", SDB)) == 0


def test_ntfs_is_probed_resized_and_repaired(storage: Scratch) -> None:
    storage.call(WIPEFS, DeviceArgs(SDB))
    assert storage.call(NTFS_3G_PROBE, Ntfs3gProbeArgs(True, SDB)) != 0
    storage.call(MKFS, MkfsArgs("ntfs", SDB))
    assert storage.call(NTFS_3G_PROBE, Ntfs3gProbeArgs(True, SDB)) == 0
    least = storage.call(VFS_MINIMUM_SIZE, MountableArgs(ON_SDB))
    assert 0 < least < 100 * MIB
    storage.call(NTFSRESIZE_SIZE, NtfsresizeSizeArgs(SDB, 100 * MIB))
    storage.call(NTFSFIX, NtfsfixArgs(SDB))
    storage.call(MOUNT_RO, MountArgs(ON_SDB, "/"))
    room = storage.call(STATVFS, PathArgs(ROOT))
    assert room.blocks * room.frsize <= 100 * MIB
    storage.call(UMOUNT_ALL, NoArgs())
    storage.call(NTFSRESIZE, NtfsresizeArgs(SDB, force=True))


def test_ntfs_is_cloned(storage: Scratch, tmp_path: Path) -> None:
    storage.call(MKFS, MkfsArgs("ntfs", SDB, label="one"))
    clone = tmp_path / "clone"
    storage.save(NTFSCLONE_OUT, NtfscloneOutArgs(SDB, metadataonly=True), clone)
    assert storage.call(VFS_LABEL, MountableArgs(ON_SDB)) == "one"
    storage.save(NTFSCLONE_OUT, NtfscloneOutArgs(SDB), clone)
    storage.call(WIPEFS, DeviceArgs(SDB))
    assert tags(storage) == ("", "")
    assert storage.refused(NTFSCLONE_OUT, NtfscloneOutArgs(SDB))[0] == ""
    storage.load(NTFSCLONE_IN, DeviceArgs(SDB), clone.read_bytes())
    assert tags(storage) == ("ntfs", "one")
    with pytest.raises(ProcedureError, match="ntfsclone"):
        storage.load(NTFSCLONE_IN, DeviceArgs(SDB), b"no image" * 100_000)


def test_ntfs_sizes_are_checked(storage: Scratch) -> None:
    assert "more than 0" in storage.refused(NTFSRESIZE, NtfsresizeArgs(SDB, size=0))[1]


def test_xfs_is_described_tuned_grown_and_repaired(storage: Scratch) -> None:
    storage.call(WIPEFS, DeviceArgs(SDB))
    assert storage.call(XFS_REPAIR, XfsRepairArgs(DeviceOrPath(b"/dev/sda"), nomodify=True)) != 0
    storage.call(MKFS, MkfsArgs("xfs", SDB, blocksize=2048, inode=1024, label="x"))
    info = storage.call(XFS_INFO, XfsInfoArgs(DeviceOrPath(b"/dev/sdb")))
    assert (info.xfs_mntpoint, info.xfs_inodesize, info.xfs_blocksize) == ("/dev/sdb", 1024, 2048)
    assert (info.xfs_datablocks, info.xfs_dirversion) == (SIZES_MIB[1] * MIB // 2048, 2)
    assert (info.xfs_logname, info.xfs_logversion, info.xfs_rtname) == ("internal log", 2, "none")
    storage.call(XFS_ADMIN, XfsAdminArgs(SDB, label="", uuid=UUID))
    assert tags(storage) == ("xfs", "")
    assert storage.call(VFS_UUID, MountableArgs(ON_SDB)) == UUID
    storage.call(MOUNT, MountArgs(ON_SDB, "/"))
    assert storage.call(VFS_MINIMUM_SIZE, MountableArgs(ON_SDB)) == SIZES_MIB[1] * MIB
    assert storage.call(XFS_INFO, XfsInfoArgs(DeviceOrPath(b"/"))) == info._replace(xfs_mntpoint="/")
    assert storage.refused(XFS_GROWFS, XfsGrowfsArgs(ROOT, datasize=1 << 40))[0] == ""
    storage.call(XFS_GROWFS, XfsGrowfsArgs(ROOT, maxpct=30))
    assert storage.call(XFS_INFO, XfsInfoArgs(DeviceOrPath(b"/"))).xfs_imaxpct == 30
    storage.call(UMOUNT_ALL, NoArgs())
    assert storage.call(XFS_REPAIR, XfsRepairArgs(DeviceOrPath(b"/dev/sdb"))) == 0


def test_swap_has_label_and_uuid(storage: Scratch) -> None:
    storage.call(MKSWAP, MkswapArgs(SDB, label="swp", uuid=UUID))
    assert tags(storage) == ("swap", "swp")
    storage.call(SET_LABEL, SetLabelArgs(ON_SDB, "other"))
    assert tags(storage) == ("swap", "other")
    assert storage.call(VFS_UUID, MountableArgs(ON_SDB)) == UUID
    storage.call(WIPEFS, DeviceArgs(SDB))
    assert tags(storage) == ("", "")
    assert storage.refused(SET_LABEL, SetLabelArgs(ON_SDB, "x"))[0] == "ENOTSUP"
    assert storage.refused(VFS_MINIMUM_SIZE, MountableArgs(ON_SDB))[0] == "ENOTSUP"
    assert storage.refused(FINDFS_UUID, FindfsUuidArgs(UUID))[0] == ""


def test_mounts_are_made_and_undone_one_by_one(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext4", SDB))
    storage.call(MKFS, MkfsArgs("ext2", SDA))
    storage.call(MKMOUNTPOINT, MkmountpointArgs("/one"))
    storage.call(MKMOUNTPOINT, MkmountpointArgs("/two"))
    assert storage.refused(MKMOUNTPOINT, MkmountpointArgs("/one"))[0] == "EEXIST"
    assert storage.refused(MKMOUNTPOINT, MkmountpointArgs("one"))[0] == ""
    storage.call(MOUNT, MountArgs(ON_SDB, "/one"))
    storage.call(MOUNT, MountArgs(Mountable("/dev/sda"), "/two"))
    assert storage.call(MOUNTS, NoArgs()) == ["/dev/sda", "/dev/sdb"]
    assert storage.call(MOUNTPOINTS, NoArgs()) == [("/dev/sdb", "/one"), ("/dev/sda", "/two")]
    assert storage.refused(RMMOUNTPOINT, MkmountpointArgs("/one"))[0] == "EBUSY"
    assert "/dev/sdb" in storage.call(DF, NoArgs())
    assert "%" in storage.call(DF_H, NoArgs())

    file = GuestPath(b"/one/new")
    storage.call(REMOUNT, RemountArgs(GuestPath(b"/one"), rw=False))
    assert storage.refused(INTERNAL_WRITE, InternalWriteArgs(file, b""))[0] == "EROFS"
    storage.call(REMOUNT, RemountArgs(GuestPath(b"/one"), rw=True))
    storage.call(INTERNAL_WRITE, InternalWriteArgs(file, b""))
    assert "rw" in storage.refused(REMOUNT, RemountArgs(GuestPath(b"/one")))[1]
    storage.call(FSTRIM, FstrimArgs(GuestPath(b"/one")))

    storage.call(UMOUNT, UmountArgs(DeviceOrPath(b"/dev/sda")))
    storage.call(UMOUNT, UmountArgs(DeviceOrPath(b"/one"), lazyunmount=True, force=True))
    assert storage.call(MOUNTS, NoArgs()) == []
    assert storage.refused(UMOUNT, UmountArgs(DeviceOrPath(b"/dev/sda")))[0] == ""
    assert "nothing is mounted" in storage.refused(DF, NoArgs())[1]
    storage.call(RMMOUNTPOINT, MkmountpointArgs("/one"))
    storage.call(RMMOUNTPOINT, MkmountpointArgs("/two"))
    assert storage.refused(RMMOUNTPOINT, MkmountpointArgs("/two"))[0] == "ENOENT"


def test_file_of_the_guest_is_mounted_as_a_filesystem(storage: Scratch) -> None:
    from rpc.procedures import COPY_DEVICE_TO_FILE, MKDIR
    from rpc.procedures.copies import CopyDeviceToFileArgs

    storage.call(MKFS, MkfsArgs("ext4", SDB))
    storage.call(MKE2FS, Mke2fsArgs(SDA, blockscount=2048, blocksize=1024))
    storage.call(MOUNT, MountArgs(ON_SDB, "/"))
    image, place = GuestPath(b"/image"), GuestPath(b"/place")
    storage.call(COPY_DEVICE_TO_FILE, CopyDeviceToFileArgs(SDA, image, size=2 * MIB))
    storage.call(MKDIR, PathArgs(place))
    storage.call(MOUNT_LOOP, MountLoopArgs(image, place))
    assert storage.call(EXISTS, PathArgs(GuestPath(b"/place/lost+found")))
    storage.call(UMOUNT, UmountArgs(DeviceOrPath(b"/place")))
    assert not storage.call(EXISTS, PathArgs(GuestPath(b"/place/lost+found")))
    assert storage.refused(MOUNT_LOOP, MountLoopArgs(place, place))[0] == "EISDIR"
    storage.call(INTERNAL_AUTOSYNC, NoArgs())
    assert storage.call(MOUNTS, NoArgs()) == []


def test_drivers_are_there_or_not(storage: Scratch) -> None:
    assert storage.call(FILESYSTEM_AVAILABLE, FilesystemAvailableArgs("f2fs"))
    assert not storage.call(FILESYSTEM_AVAILABLE, FilesystemAvailableArgs("nosuch"))
    assert not storage.call(FILESYSTEM_AVAILABLE, FilesystemAvailableArgs("tmpfs"))  # of no device
    assert "letters" in storage.refused(FILESYSTEM_AVAILABLE, FilesystemAvailableArgs("../ext4"))[1]


def test_two_signatures_are_none(storage: Scratch) -> None:
    storage.call(MKFS, MkfsArgs("ext4", SDB))
    storage.call(PWRITE_DEVICE, PwriteDeviceArgs(SDB, b"_BHRfS_M", 0x10040))
    assert tags(storage) == ("", "")
    assert ("/dev/sdb", "unknown") in storage.call(LIST_FILESYSTEMS, NoArgs())
    storage.call(WIPEFS, DeviceArgs(SDB))


def test_wiped_device_is_empty(storage: Scratch) -> None:
    storage.call(MKSWAP, MkswapArgs(SDB))
    assert not storage.call(IS_ZERO_DEVICE, DeviceArgs(SDB))
    assert tags(storage)[0] == "swap"
    storage.call(WIPEFS, DeviceArgs(SDB))
    assert tags(storage)[0] == ""
