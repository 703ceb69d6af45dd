"""Make, check and tune ext2, ext3 and ext4 filesystems."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs
from rpc.codec import PAIRS, STRING, VOID, Device, Int32, Int64
from rpc.procedure import Procedure


class Mke2fsArgs(NamedTuple):
    """Carry the arguments of ``mke2fs``."""

    device: Device
    blockscount: Int64 | None = None
    blocksize: Int64 | None = None
    fragsize: Int64 | None = None
    blockspergroup: Int64 | None = None
    numberofgroups: Int64 | None = None
    bytesperinode: Int64 | None = None
    inodesize: Int64 | None = None
    journalsize: Int64 | None = None
    numberofinodes: Int64 | None = None
    stridesize: Int64 | None = None
    stripewidth: Int64 | None = None
    maxonlineresize: Int64 | None = None
    reservedblockspercentage: Int32 | None = None
    mmpupdateinterval: Int32 | None = None
    journaldevice: str | None = None
    label: str | None = None
    lastmounteddir: str | None = None
    creatoros: str | None = None
    fstype: str | None = None
    usagetype: str | None = None
    uuid: str | None = None
    forcecreate: bool | None = None
    writesbandgrouponly: bool | None = None
    lazyitableinit: bool | None = None
    lazyjournalinit: bool | None = None
    testfs: bool | None = None
    discard: bool | None = None
    quotatype: bool | None = None
    extent: bool | None = None
    filetype: bool | None = None
    flexbg: bool | None = None
    hasjournal: bool | None = None
    journaldev: bool | None = None
    largefile: bool | None = None
    quota: bool | None = None
    resizeinode: bool | None = None
    sparsesuper: bool | None = None
    uninitbg: bool | None = None


class E2fsckArgs(NamedTuple):
    """Carry the arguments of ``e2fsck``."""

    device: Device
    correct: bool | None = None
    forceall: bool | None = None


class Tune2fsArgs(NamedTuple):
    """Carry the arguments of ``tune2fs``."""

    device: Device
    force: bool | None = None
    maxmountcount: Int32 | None = None
    mountcount: Int32 | None = None
    errorbehavior: str | None = None
    group: Int64 | None = None
    intervalbetweenchecks: Int32 | None = None
    reservedblockspercentage: Int32 | None = None
    lastmounteddirectory: str | None = None
    reservedblockscount: Int64 | None = None
    user: Int64 | None = None


class Resize2fsSizeArgs(NamedTuple):
    """Carry the arguments of ``resize2fs_size``."""

    device: Device
    size: Int64


class SetE2labelArgs(NamedTuple):
    """Carry the arguments of ``set_e2label``."""

    device: Device
    label: str


class SetE2uuidArgs(NamedTuple):
    """Carry the arguments of ``set_e2uuid``."""

    device: Device
    uuid: str


class Mke2journalArgs(NamedTuple):
    """Carry the arguments of ``mke2journal``."""

    blocksize: Int32
    device: Device


class Mke2journalLArgs(NamedTuple):
    """Carry the arguments of ``mke2journal_L``."""

    blocksize: Int32
    label: str
    device: Device


class Mke2journalUArgs(NamedTuple):
    """Carry the arguments of ``mke2journal_U``."""

    blocksize: Int32
    uuid: str
    device: Device


class Mke2fsJArgs(NamedTuple):
    """Carry the arguments of ``mke2fs_J``."""

    fstype: str
    blocksize: Int32
    device: Device
    journal: Device


class Mke2fsJLArgs(NamedTuple):
    """Carry the arguments of ``mke2fs_JL``."""

    fstype: str
    blocksize: Int32
    device: Device
    label: str


class Mke2fsJUArgs(NamedTuple):
    """Carry the arguments of ``mke2fs_JU``."""

    fstype: str
    blocksize: Int32
    device: Device
    uuid: str


MKE2FS: Final = Procedure(number=368, name="mke2fs", args=Mke2fsArgs, result=VOID)
E2FSCK: Final = Procedure(number=304, name="e2fsck", args=E2fsckArgs, result=VOID)
E2FSCK_F: Final = Procedure(number=108, name="e2fsck_f", args=DeviceArgs, result=VOID)
TUNE2FS: Final = Procedure(number=298, name="tune2fs", args=Tune2fsArgs, result=VOID)
TUNE2FS_L: Final = Procedure(number=55, name="tune2fs_l", args=DeviceArgs, result=PAIRS)
RESIZE2FS: Final = Procedure(number=106, name="resize2fs", args=DeviceArgs, result=VOID)
RESIZE2FS_SIZE: Final = Procedure(number=248, name="resize2fs_size", args=Resize2fsSizeArgs, result=VOID)
RESIZE2FS_M: Final = Procedure(number=281, name="resize2fs_M", args=DeviceArgs, result=VOID)
GET_E2LABEL: Final = Procedure(number=81, name="get_e2label", args=DeviceArgs, result=STRING)
SET_E2LABEL: Final = Procedure(number=80, name="set_e2label", args=SetE2labelArgs, result=VOID)
GET_E2UUID: Final = Procedure(number=83, name="get_e2uuid", args=DeviceArgs, result=STRING)
SET_E2UUID: Final = Procedure(number=82, name="set_e2uuid", args=SetE2uuidArgs, result=VOID)
MKE2JOURNAL: Final = Procedure(number=188, name="mke2journal", args=Mke2journalArgs, result=VOID)
MKE2JOURNAL_L: Final = Procedure(number=189, name="mke2journal_L", args=Mke2journalLArgs, result=VOID)
MKE2JOURNAL_U: Final = Procedure(number=190, name="mke2journal_U", args=Mke2journalUArgs, result=VOID)
MKE2FS_J: Final = Procedure(number=191, name="mke2fs_J", args=Mke2fsJArgs, result=VOID)
MKE2FS_JL: Final = Procedure(number=192, name="mke2fs_JL", args=Mke2fsJLArgs, result=VOID)
MKE2FS_JU: Final = Procedure(number=193, name="mke2fs_JU", args=Mke2fsJUArgs, result=VOID)
