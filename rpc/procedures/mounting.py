"""Mount and unmount filesystems in the guest's root."""

from typing import Final, NamedTuple

from rpc.arguments import MountableArgs, NoArgs, PathArgs
from rpc.codec import PAIRS, STRING_LIST, VOID, DeviceOrPath, GuestPath, Mountable, codec_of
from rpc.procedure import Procedure
from rpc.types import InternalMountable


class MountArgs(NamedTuple):
    """Carry the arguments of ``mount``, ``mount_ro``."""

    mountable: Mountable
    mountpoint: str


class MountOptionsArgs(NamedTuple):
    """Carry the arguments of ``mount_options``."""

    options: str
    mountable: Mountable
    mountpoint: str


class MountVfsArgs(NamedTuple):
    """Carry the arguments of ``mount_vfs``."""

    options: str
    vfstype: str
    mountable: Mountable
    mountpoint: str


class UmountArgs(NamedTuple):
    """Carry the arguments of ``umount``."""

    pathordevice: DeviceOrPath
    force: bool | None = None
    lazyunmount: bool | None = None


class MountLoopArgs(NamedTuple):
    """Carry the arguments of ``mount_loop``."""

    file: GuestPath
    mountpoint: GuestPath


class RemountArgs(NamedTuple):
    """Carry the arguments of ``remount``."""

    mountpoint: GuestPath
    rw: bool | None = None


class MkmountpointArgs(NamedTuple):
    """Carry the arguments of ``mkmountpoint``, ``rmmountpoint``."""

    exemptpath: str


MOUNT: Final = Procedure(number=1, name="mount", args=MountArgs, result=VOID)
MOUNT_RO: Final = Procedure(number=73, name="mount_ro", args=MountArgs, result=VOID)
MOUNT_OPTIONS: Final = Procedure(number=74, name="mount_options", args=MountOptionsArgs, result=VOID)
MOUNT_VFS: Final = Procedure(number=75, name="mount_vfs", args=MountVfsArgs, result=VOID)
UMOUNT: Final = Procedure(number=45, name="umount", args=UmountArgs, result=VOID)
UMOUNT_ALL: Final = Procedure(number=47, name="umount_all", args=NoArgs, result=VOID)
MOUNTS: Final = Procedure(number=46, name="mounts", args=NoArgs, result=STRING_LIST)
MOUNTPOINTS: Final = Procedure(number=147, name="mountpoints", args=NoArgs, result=PAIRS)
SYNC: Final = Procedure(number=2, name="sync", args=NoArgs, result=VOID)
INTERNAL_AUTOSYNC: Final = Procedure(number=282, name="internal_autosync", args=NoArgs, result=VOID)
INTERNAL_PARSE_MOUNTABLE: Final = Procedure(
    number=396, name="internal_parse_mountable", args=MountableArgs, result=codec_of(InternalMountable)
)
MOUNT_LOOP: Final = Procedure(number=129, name="mount_loop", args=MountLoopArgs, result=VOID)
REMOUNT: Final = Procedure(number=402, name="remount", args=RemountArgs, result=VOID)
MKMOUNTPOINT: Final = Procedure(number=148, name="mkmountpoint", args=MkmountpointArgs, result=VOID)
RMMOUNTPOINT: Final = Procedure(number=149, name="rmmountpoint", args=MkmountpointArgs, result=VOID)
COVER: Final = Procedure(number=10021, name="cover", args=PathArgs, result=VOID)
