"""What works with the appliance's own programs and kernel: archives, copies, refusals, on real filesystems."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import DeviceArgs, NoArgs, PathArgs
from rpc.codec import Device, DeviceOrPath, GuestPath, Mountable
from rpc.errors import ProcedureError
from rpc.procedure import Procedure
from rpc.procedures import (
    CHECKSUMS_OUT,
    COPY_DEVICE_TO_DEVICE,
    CP_A,
    DEBUG,
    DU,
    FILE,
    HEAD,
    INTERNAL_WRITE,
    LGETXATTR,
    LIST_PARTITIONS,
    LL,
    LN_S,
    LSETXATTR,
    LSTATNS,
    MKDIR,
    MKFS,
    MOUNT_OPTIONS,
    MV,
    PWRITE_DEVICE,
    RM_RF,
    TAR_IN,
    TAR_OUT,
    TOUCH,
    UMOUNT_ALL,
    UPLOAD,
    ZERO,
)
from rpc.procedures.archives import ChecksumsOutArgs, TarInArgs, TarOutArgs
from rpc.procedures.contents import InternalWriteArgs, PwriteDeviceArgs
from rpc.procedures.control import DebugArgs
from rpc.procedures.copies import CopyDeviceToDeviceArgs
from rpc.procedures.directories import Find0Args
from rpc.procedures.filesystems import MkfsArgs
from rpc.procedures.mounting import MountOptionsArgs
from rpc.procedures.names import LnArgs, MvArgs
from rpc.procedures.texts import FileArgs
from rpc.procedures.transfers import RemoteFileArgs
from rpc.procedures.xattrs import GetxattrArgs, SetxattrArgs
from tests.daemon.scratch import Scratch
from tests.daemon.test_confined import archive

pytestmark = pytest.mark.appliance

DISK = "/dev/sdb"


def mount(storage: Scratch, fstype: str | None = None, options: str = "") -> None:
    if fstype:
        storage.call(MKFS, MkfsArgs(fstype, Device(DISK)))
    storage.call(MOUNT_OPTIONS, MountOptionsArgs(options, Mountable(DISK), "/"))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def owned() -> bytes:
    """Pack a file of somebody the appliance knows by name, and of somebody it does not know."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, uname, uid in (("known", "www-data", 7), ("unknown", "nobody knows", 4321)):
            info = tarfile.TarInfo(name)
            info.uname, info.uid, info.gid, info.size = uname, uid, 99, 4
            tar.addfile(info, io.BytesIO(b"data"))
    return buffer.getvalue()


@pytest.mark.parametrize("compress", COMPRESS)
def test_archives_go_in_and_out(storage: Scratch, tmp_path: Path, compress: str) -> None:
    mount(storage, "ext4")
    root = GuestPath(b"/")
    storage.load(TAR_IN, TarInArgs(root, compress or None), COMPRESS[compress](owned()))
    found = {name: storage.call(LSTATNS, PathArgs(GuestPath(name))) for name in (b"/known", b"/unknown")}
    assert [stat.st_uid for stat in found.values()] == [33, 4321]
    storage.save(TAR_OUT, TarOutArgs("/", compress or None, excludes=["lost+found"]), tmp_path / "out")
    with tarfile.open(tmp_path / "out") as tar:
        owners = {member.name: (member.uname, member.uid) for member in tar}
    assert owners == {".": ("root", 0), "./known": ("www-data", 33), "./unknown": ("", 4321)}


def test_xattrs_go_in_and_out_of_archives(storage: Scratch, tmp_path: Path) -> None:
    mount(storage, "ext4")
    for name in (b"/from", b"/to"):
        storage.call(MKDIR, PathArgs(GuestPath(name)))
    storage.call(TOUCH, PathArgs(GuestPath(b"/from/file")))
    storage.call(LSETXATTR, SetxattrArgs("security.selinux", "label", 6, GuestPath(b"/from/file")))
    storage.save(TAR_OUT, TarOutArgs("/from", xattrs=True, selinux=True, acls=True), tmp_path / "out")
    storage.load(TAR_IN, TarInArgs(GuestPath(b"/to"), xattrs=True), (tmp_path / "out").read_bytes())
    assert storage.call(LGETXATTR, GetxattrArgs(GuestPath(b"/to/file"), "security.selinux")) == b"label\0"


def test_trees_are_copied_moved_measured_and_removed(storage: Scratch, tmp_path: Path) -> None:
    mount(storage, "ext4")
    storage.call(MKDIR, PathArgs(GuestPath(b"/a")))
    storage.call(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/a/file"), b"#!/bin/sh\n" + bytes(100_000)))
    storage.call(CP_A, MvArgs(GuestPath(b"/a"), GuestPath(b"/b")))
    storage.call(MV, MvArgs(GuestPath(b"/b"), GuestPath(b"/a")))
    assert storage.call(DU, PathArgs(GuestPath(b"/a"))) >= 196
    storage.save(CHECKSUMS_OUT, ChecksumsOutArgs("md5", GuestPath(b"/a")), tmp_path / "sums")
    lines = (tmp_path / "sums").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == {"./file", "./b/file"}
    assert len({line.split("  ")[0] for line in lines}) == 1
    assert "root root" in storage.call(LL, Find0Args(GuestPath(b"/a")))
    assert storage.call(HEAD, PathArgs(GuestPath(b"/a/b/file")))[0] == "#!/bin/sh"
    assert "shell script" in storage.call(FILE, FileArgs(DeviceOrPath(b"/a/file")))
    assert storage.call(FILE, FileArgs(DeviceOrPath(DISK.encode()))).startswith("Linux rev 1.0 ext4 filesystem data")
    storage.call(RM_RF, PathArgs(GuestPath(b"/a")))
    assert storage.refused(LSTATNS, PathArgs(GuestPath(b"/a")))[0] == "ENOENT"


def test_read_only_mount_is_erofs(storage: Scratch) -> None:
    mount(storage, "ext4")
    storage.call(TOUCH, PathArgs(GuestPath(b"/file")))
    storage.call(UMOUNT_ALL, NoArgs())
    mount(storage, options="ro")
    new = GuestPath(b"/new")
    refusals = [
        storage.refused(TOUCH, PathArgs(new)),
        storage.refused(MKDIR, PathArgs(new)),
        storage.refused(LN_S, LnArgs("x", new)),
        storage.refused(INTERNAL_WRITE, InternalWriteArgs(GuestPath(b"/file"), b"x")),
    ]
    assert {name for name, _ in refusals} == {"EROFS"}
    uploads: list[tuple[Procedure[Any, None], Any]] = [
        (UPLOAD, RemoteFileArgs(DeviceOrPath(new))),
        (TAR_IN, TarInArgs(GuestPath(b"/"))),
    ]
    for procedure, args in uploads:
        with pytest.raises(ProcedureError) as caught:
            storage.load(procedure, args, archive(("new", b"")))
        assert caught.value.errno_name == "EROFS"
    assert "Read-only file system" in storage.refused(CP_A, MvArgs(GuestPath(b"/file"), new))[1]


def test_filesystem_without_owners_takes_archives(storage: Scratch) -> None:
    mount(storage, "vfat")
    storage.load(TAR_IN, TarInArgs(GuestPath(b"/")), owned())
    assert storage.call(LSTATNS, PathArgs(GuestPath(b"/unknown"))).st_size == 4
    assert storage.refused(LN_S, LnArgs("x", GuestPath(b"/new")))[0] == "EPERM"


def test_full_disk_stops_the_sender_with_enospc(storage: Scratch) -> None:
    mount(storage, "ext2")
    size_bytes = 500 << 20
    with pytest.raises(ProcedureError) as caught:
        storage.load(UPLOAD, RemoteFileArgs(DeviceOrPath(b"/big")), bytes(size_bytes))
    assert caught.value.errno_name == "ENOSPC"
    with pytest.raises(ProcedureError, match="No space left on device"):
        storage.load(TAR_IN, TarInArgs(GuestPath(b"/")), archive(("other", bytes(1 << 20))))


def test_written_partition_table_is_read_at_once(storage: Scratch) -> None:
    """One MBR partition of type 0x83, from sector 2048 on, 2048 sectors long."""
    entry = bytes((0, 0, 0, 0, 0x83, 0, 0, 0)) + (2048).to_bytes(4, "little") * 2
    table = bytes(446) + entry + bytes(48) + b"\x55\xaa"
    disk, name = Device("/dev/sda"), DeviceOrPath(b"/dev/sda")

    def partitions() -> list[str]:
        return [each for each in storage.call(LIST_PARTITIONS, NoArgs()) if each.startswith(disk)]

    storage.call(ZERO, DeviceArgs(disk))
    storage.load(UPLOAD, RemoteFileArgs(name), table)
    assert partitions() == ["/dev/sda1"]
    storage.call(ZERO, DeviceArgs(disk))
    assert partitions() == []
    storage.call(PWRITE_DEVICE, PwriteDeviceArgs(disk, table, 0))
    assert partitions() == ["/dev/sda1"]
    storage.call(COPY_DEVICE_TO_DEVICE, CopyDeviceToDeviceArgs(Device("/dev/sdf"), disk, size=512))
    assert partitions() == []


def test_archive_cannot_change_the_appliance(storage: Scratch) -> None:
    mount(storage, "ext4")
    for name, target in ((b"/tmp", "/tmp"), (b"/up", "../../../../../tmp"), (b"/run", "/proc/1/root/tmp")):
        storage.call(LN_S, LnArgs(target, GuestPath(name)))
        member = f"{os.fsdecode(name)[1:]}/planted"
        with pytest.raises(ProcedureError):
            storage.load(TAR_IN, TarInArgs(GuestPath(b"/")), archive((member, b"evil")))
    assert "planted" not in storage.call(DEBUG, DebugArgs("sh", ["find", "/tmp", "/run", "/sysroot"]))
