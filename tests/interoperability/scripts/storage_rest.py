"""The calls about storage that no other script makes, each of them successful once."""

from collections.abc import Iterator

from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked

UUID = "12345678-1234-4321-8765-0123456789ab"
GUID = "ABCDEF01-1234-4321-8765-0123456789AB"


@script("mounting with a type, again, and of a file; what filesystems are called, checked, trimmed")
def filesystems_named(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        library.mkfs("ext4", "/dev/sda", label="one")
        yield asked(library, "findfs_label", "one")
        yield asked(library, "set_uuid", "/dev/sda", UUID)
        yield asked(library, "findfs_uuid", UUID)
        yield asked(library, "e2fsck", "/dev/sda", forceall=True)
        yield f"vfs_minimum_size: {0 < library.vfs_minimum_size('/dev/sda') < 64 << 20}"
        yield asked(library, "filesystem_available", "ext4")
        yield asked(library, "filesystem_available", "nosuch")
        yield asked(library, "blockdev_getsz", "/dev/sda")
        yield asked(library, "mount_vfs", "noatime", "ext4", "/dev/sda", "/")
        yield asked(library, "write", "/image", bytes(1 << 20))
        yield asked(library, "fstrim", "/")
        yield f"df_h: {'%' in library.df_h()}"
        yield asked(library, "remount", "/", rw=False)
        yield asked(library, "touch", "/new")
        yield asked(library, "remount", "/", rw=True)
        yield asked(library, "touch", "/new")
        yield asked(library, "mkfs", "ext2", "/dev/sdb")
        yield asked(library, "copy_device_to_file", "/dev/sdb", "/image", size=1 << 20)
        yield asked(library, "copy_file_to_device", "/image", "/dev/sdb", destoffset=1 << 20)
        yield asked(library, "copy_device_to_device", "/dev/sdb", "/dev/sdc", size=2 << 20)
        yield asked(library, "pread_device", "/dev/sdc", 2, (1 << 20) + 1080)
        yield asked(library, "zero_device", "/dev/sdc")
        yield asked(library, "is_zero_device", "/dev/sdc")
        yield asked(library, "umount", "/")


@script("what partitions are called, and the volume groups all at once")
def partitions_named(stage: Stage) -> Iterator[str]:
    disks = (stage.disk(256), stage.disk(64))
    with stage.launched(*disks) as library:
        library.part_disk("/dev/sda", "gpt")
        yield asked(library, "part_set_gpt_guid", "/dev/sda", 1, GUID)
        yield asked(library, "part_get_gpt_guid", "/dev/sda", 1)
        yield asked(library, "part_set_gpt_attributes", "/dev/sda", 1, 4)
        yield asked(library, "part_get_gpt_attributes", "/dev/sda", 1)
        yield asked(library, "part_set_disk_guid", "/dev/sda", GUID)
        yield asked(library, "part_get_disk_guid", "/dev/sda")
        yield asked(library, "part_expand_gpt", "/dev/sda")
        library.part_disk("/dev/sdb", "mbr")
        yield asked(library, "part_get_mbr_part_type", "/dev/sdb", 1)
        library.pvcreate("/dev/sdb1")
        library.vgcreate("VG", ["/dev/sdb1"])
        library.lvcreate("one", "VG", 8)
        yield asked(library, "vg_activate_all", False)
        yield asked(library, "vg_activate_all", True)
        yield asked(library, "lvm_scan", True)
        yield asked(library, "lvs")
        library.mkfs("btrfs", "/dev/sda1")
        library.mount("/dev/sda1", "/")
        library.btrfs_subvolume_create("/sub")
        shown = dict(library.btrfs_subvolume_show("/sub"))
        yield f"btrfs_subvolume_show: {shown['Name']} {shown['Subvolume ID']}"
        library.umount("/")
        yield asked(library, "list_ldm_volumes")
        yield asked(library, "list_9p")
