"""Describe, grow, tune and repair XFS filesystems."""

from typing import Final, NamedTuple

from rpc.codec import INT32, PAIRS, VOID, Device, DeviceOrPath, GuestPath, Int32, Int64, UInt32, UInt64, codec_of
from rpc.procedure import Procedure


class Xfsinfo(NamedTuple):
    """Geometry of an XFS filesystem."""

    xfs_mntpoint: str
    xfs_inodesize: UInt32
    xfs_agcount: UInt32
    xfs_agsize: UInt32
    xfs_sectsize: UInt32
    xfs_attr: UInt32
    xfs_blocksize: UInt32
    xfs_datablocks: UInt64
    xfs_imaxpct: UInt32
    xfs_sunit: UInt32
    xfs_swidth: UInt32
    xfs_dirversion: UInt32
    xfs_dirblocksize: UInt32
    xfs_cimode: UInt32
    xfs_logname: str
    xfs_logblocksize: UInt32
    xfs_logblocks: UInt32
    xfs_logversion: UInt32
    xfs_logsectsize: UInt32
    xfs_logsunit: UInt32
    xfs_lazycount: UInt32
    xfs_rtname: str
    xfs_rtextsize: UInt32
    xfs_rtblocks: UInt64
    xfs_rtextents: UInt64


class XfsInfoArgs(NamedTuple):
    """Carry the arguments of ``xfs_info``, ``xfs_info2``."""

    pathordevice: DeviceOrPath


class XfsAdminArgs(NamedTuple):
    """Carry the arguments of ``xfs_admin``."""

    device: Device
    extunwritten: bool | None = None
    imgfile: bool | None = None
    v2log: bool | None = None
    projid32bit: bool | None = None
    lazycounter: bool | None = None
    label: str | None = None
    uuid: str | None = None


class XfsGrowfsArgs(NamedTuple):
    """Carry the arguments of ``xfs_growfs``."""

    path: GuestPath
    datasec: bool | None = None
    logsec: bool | None = None
    rtsec: bool | None = None
    datasize: Int64 | None = None
    logsize: Int64 | None = None
    rtsize: Int64 | None = None
    rtextsize: Int64 | None = None
    maxpct: Int32 | None = None


class XfsRepairArgs(NamedTuple):
    """Carry the arguments of ``xfs_repair``."""

    device: DeviceOrPath
    forcelogzero: bool | None = None
    nomodify: bool | None = None
    noprefetch: bool | None = None
    forcegeometry: bool | None = None
    maxmem: Int64 | None = None
    ihashsize: Int64 | None = None
    bhashsize: Int64 | None = None
    agstride: Int64 | None = None
    logdev: str | None = None
    rtdev: str | None = None


XFS_INFO: Final = Procedure(number=337, name="xfs_info", args=XfsInfoArgs, result=codec_of(Xfsinfo))
XFS_INFO2: Final = Procedure(number=522, name="xfs_info2", args=XfsInfoArgs, result=PAIRS)
XFS_ADMIN: Final = Procedure(number=349, name="xfs_admin", args=XfsAdminArgs, result=VOID)
XFS_GROWFS: Final = Procedure(number=343, name="xfs_growfs", args=XfsGrowfsArgs, result=VOID)
XFS_REPAIR: Final = Procedure(number=366, name="xfs_repair", args=XfsRepairArgs, result=INT32)
