"""Partitions, LVM, LUKS, MD and btrfs: made, closed, and found again by another appliance."""

from collections.abc import Iterator
from typing import Final

from tests.interoperability.library import Library
from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked

_KEY: Final = "the key"


@script("partition tables of both kinds")
def partitions(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        for kind in ("gpt", "mbr"):
            library.part_init("/dev/sda", kind)
            for start, end in ((2048, 40_959), (40_960, 81_919), (81_920, -40)):
                yield asked(library, "part_add", "/dev/sda", "p", start, end)
            yield asked(library, "part_add", "/dev/sda", "p", 2048, 4095)
            for name in ("part_get_parttype", "part_list"):
                yield asked(library, name, "/dev/sda")
            yield asked(library, "list_partitions")
            library.part_set_bootable("/dev/sda", 2, True)
            for name in ("part_get_bootable", "part_get_name", "part_get_gpt_type", "part_get_mbr_id"):
                yield from (asked(library, name, "/dev/sda", number) for number in (1, 2, 9))
            yield asked(library, "part_set_name", "/dev/sda", 1, "a name")
            yield asked(library, "part_get_name", "/dev/sda", 1)
            yield asked(library, "part_set_mbr_id", "/dev/sda", 1, 0x8E)
            yield asked(library, "part_set_gpt_type", "/dev/sda", 1, "E6D6D379-F507-44C2-A23C-238F2A3DF928")
            yield asked(library, "part_get_gpt_type", "/dev/sda", 1)
            yield asked(library, "part_resize", "/dev/sda", 3, 99_999)
            yield asked(library, "part_del", "/dev/sda", 1)
            yield asked(library, "part_list", "/dev/sda")
            yield asked(library, "list_partitions")
            for name in ("part_to_dev", "part_to_partnum"):
                yield from (asked(library, name, device) for device in ("/dev/sda2", "/dev/sda"))
        library.zero("/dev/sda")


@script("filesystems of every kind: made, labelled, checked, found, mounted")
def filesystems(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        for kind in ("ext2", "ext4", "vfat", "xfs", "btrfs", "ntfs", "nonsense"):
            yield asked(library, "mkfs", kind, "/dev/sda", label="a-label")
            if kind == "nonsense":
                break
            for name in ("vfs_type", "vfs_label"):
                yield asked(library, name, "/dev/sda")
            yield asked(library, "list_filesystems")
            library.mount("/dev/sda", "/")
            library.write("/file", kind.encode())
            yield asked(library, "read_file", "/file")
            yield asked(library, "mountpoints")
            statvfs = library.statvfs("/")
            yield f"statvfs: {statvfs['bsize']} {statvfs['blocks']} {statvfs['namemax']}"
            library.umount("/")
            yield asked(library, "set_label", "/dev/sda", "another")
            yield asked(library, "vfs_label", "/dev/sda")
            if kind.startswith("ext"):
                yield asked(library, "fsck", kind, "/dev/sda")
        library.wipefs("/dev/sda")
        yield asked(library, "vfs_type", "/dev/sda")


@script("LVM: volume group over two disks, volumes made, resized, deactivated, found again after a restart")
def lvm(stage: Stage) -> Iterator[str]:
    disks = (stage.disk(64), stage.disk(64))
    with stage.launched(*disks) as library:
        for device in ("/dev/sda", "/dev/sdb"):
            library.pvcreate(device)
        library.vgcreate("VG", ["/dev/sda", "/dev/sdb"])
        library.lvcreate("one", "VG", 80)
        library.lvcreate_free("two", "VG", 100)
        yield from _lvm_seen(library)
        yield asked(library, "lvcreate", "three", "VG", 50)
        yield asked(library, "lvcreate", "one", "VG", 4)
        library.mkfs("ext4", "/dev/VG/one")
        library.mount("/dev/VG/one", "/")
        library.write("/file", b"on a logical volume")
        yield asked(library, "mounts")
        yield asked(library, "canonical_device_name", "/dev/mapper/VG-one")
        yield asked(library, "lvm_canonical_lv_name", "/dev/mapper/VG-two")
        yield asked(library, "lvm_canonical_lv_name", "/dev/sda")
        yield from (asked(library, "is_lv", device) for device in ("/dev/VG/one", "/dev/sda"))
        yield asked(library, "vg_activate", False, ["VG"])
        library.umount("/")
        yield asked(library, "vg_activate", False, ["VG"])
        yield asked(library, "lvs")
        yield asked(library, "mount", "/dev/VG/one", "/")
    with stage.launched(*disks) as library:
        yield from _lvm_seen(library)
        library.mount("/dev/VG/one", "/")
        yield asked(library, "read_file", "/file")
        library.umount("/")
        library.lvremove("/dev/VG/two")
        yield asked(library, "lvresize", "/dev/VG/one", 88)
        yield asked(library, "blockdev_getsize64", "/dev/VG/one")
        yield asked(library, "lvresize_free", "/dev/VG/one", 100)
        yield asked(library, "blockdev_getsize64", "/dev/VG/one")
        library.lvrename("/dev/VG/one", "/dev/VG/uno")
        yield asked(library, "lvs")
        library.vgremove("VG")
        yield asked(library, "vgs")
        library.pvremove("/dev/sda")
        yield asked(library, "pvs")


def _lvm_seen(library: Library) -> Iterator[str]:
    for name in ("pvs", "vgs", "lvs", "list_filesystems", "list_dm_devices"):
        yield asked(library, name)
    for name, field in (("pvs_full", "pv"), ("vgs_full", "vg"), ("lvs_full", "lv")):
        for row in sorted(library.call(name), key=repr):
            yield f"{name}: " + repr(
                {key: value for key, value in row.items() if not key.endswith(("_uuid", "_seqno", "_kernel_major"))}
            )
            assert len(row[f"{field}_uuid"]) == 32
    vg_uuid = library.vguuid("VG")
    assert vg_uuid.replace("-", "") == library.vgs_full()[0]["vg_uuid"]
    assert library.vglvuuids("VG") == [library.lvuuid(f"/dev/VG/{name}") for name in ("one", "two")]
    assert sorted(library.vgpvuuids("VG")) == sorted(library.pvuuid(f"/dev/sd{letter}") for letter in "ab")


@script("LUKS: formatted, opened, filled, closed, opened again by another appliance, with the right keys only")
def luks(stage: Stage) -> Iterator[str]:
    disk = stage.disk(64)
    with stage.launched(disk) as library:
        library.luks_format("/dev/sda", _KEY, 0)
        uuid = library.luks_uuid("/dev/sda")
        assert uuid == library.vfs_uuid("/dev/sda")
        yield asked(library, "vfs_type", "/dev/sda")
        yield asked(library, "luks_open", "/dev/sda", "wrong", "plain")
        yield asked(library, "cryptsetup_open", "/dev/sda", _KEY, "plain")
        yield asked(library, "list_dm_devices")
        library.mkfs("ext4", "/dev/mapper/plain")
        library.mount("/dev/mapper/plain", "/")
        library.write("/secret", b"behind a key")
        yield asked(library, "mounts")
        yield asked(library, "list_filesystems")
        yield asked(library, "cryptsetup_close", "/dev/mapper/plain")
        library.umount("/")
        yield asked(library, "cryptsetup_close", "/dev/mapper/plain")
        yield asked(library, "list_dm_devices")
        yield asked(library, "luks_add_key", "/dev/sda", _KEY, "another", 1)
        yield asked(library, "luks_kill_slot", "/dev/sda", "another", 0)
    with stage.launched(disk) as library:
        assert library.luks_uuid("/dev/sda") == uuid
        yield asked(library, "luks_open_ro", "/dev/sda", _KEY, "plain")
        yield asked(library, "luks_open_ro", "/dev/sda", "another", "plain")
        library.mount_ro("/dev/mapper/plain", "/")
        yield asked(library, "read_file", "/secret")
        library.umount_all()
        yield asked(library, "luks_close", "/dev/mapper/plain")


@script("MD: a mirror made, filled, stopped, and found again after a restart")
def raid(stage: Stage) -> Iterator[str]:
    disks = (stage.disk(64), stage.disk(64))
    with stage.launched(*disks) as library:
        library.md_create("mirror", ["/dev/sda", "/dev/sdb"], level="raid1")
        (device,) = library.list_md_devices()
        detail = dict(library.md_detail(device))
        yield f"md_detail: {detail['level']}, {detail['devices']} devices, version {detail['metadata']}"
        yield f"md_stat: {[row['mdstat_device'] for row in sorted(library.md_stat(device), key=repr)]}"
        library.mkfs("ext4", device)
        library.mount(device, "/")
        library.write("/file", b"twice")
        library.umount("/")
        yield asked(library, "md_stop", device)
        yield asked(library, "list_md_devices")
    with stage.launched(*disks) as library:
        (device,) = library.list_md_devices()
        assert dict(library.md_detail(device))["uuid"] == detail["uuid"]
        library.mount_ro(device, "/")
        yield asked(library, "read_file", "/file")


@script("btrfs subvolumes")
def btrfs(stage: Stage) -> Iterator[str]:
    with stage.filesystem("btrfs") as library:
        library.btrfs_subvolume_create("/one")
        library.write("/one/file", b"in a subvolume")
        library.btrfs_subvolume_snapshot("/one", "/two", ro=True)
        yield asked(library, "btrfs_subvolume_list", "/")
        yield asked(library, "write", "/two/file", b"refused")
        yield asked(library, "list_filesystems")
        yield asked(library, "btrfs_subvolume_get_default", "/")
        yield asked(library, "btrfs_subvolume_set_default", 256, "/")
        yield asked(library, "btrfs_subvolume_delete", "/two")
        library.umount("/")
        yield asked(library, "list_filesystems")
        library.mount("btrfsvol:/dev/sda/one", "/")
        yield asked(library, "read_file", "/file")
        yield asked(library, "mounts")
        yield asked(library, "mountable_device", "btrfsvol:/dev/sda/one")
        yield asked(library, "mountable_subvolume", "btrfsvol:/dev/sda/one")
