"""Block devices: their order, names, sizes, partitions.

``/dev/sdX`` on the wire means disk X in the order the drives were added, whatever the kernel calls it (section 4.1).
"""

import os
import re
import stat as modes
from errno import EINVAL, ENOENT
from typing import Final

from daemon.command import run
from daemon.files import checked_range
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs, NoArgs
from rpc.procedures.contents import PreadDeviceArgs
from rpc.procedures.partitions import Partition

_SYS_BLOCK: Final = "/sys/block"
_DISK: Final = r"/dev/(?:sd|hd|vd|xvd)([a-z]+)(\d*)"
"""Compiled when it is first used: at each boot that would take as long as a tenth of all imports."""


def disks() -> list[str]:
    """Return the kernel's names of the guest's disks in the order they were added; the appliance's own is left out."""
    own = _own_disk()
    found = []
    for name in os.listdir(_SYS_BLOCK):
        if re.fullmatch(r"(sd|vd)[a-z]+", name) and name != own:
            place = os.path.realpath(f"{_SYS_BLOCK}/{name}/device")
            numbers = tuple(int(number) for number in re.findall(r"\d+", place.rpartition("/")[2]))
            found.append((name[:2], numbers, len(name), name))
    return [name for *_, name in sorted(found)]


def _own_disk() -> str | None:
    """Return the disk that holds the appliance's root, on whatever bus it is."""
    number = os.stat("/").st_dev
    link = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    return os.path.basename(os.path.realpath(link)) if os.path.exists(link) else None


def letters(index: int) -> str:
    """Return the letters of disk ``index``: a to z, then aa, ab and so on."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _index(text: str) -> int:
    index = 0
    for letter in text:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def real_name(device: str) -> str:
    """Return the kernel's path of a device as named on the wire."""
    match = re.fullmatch(_DISK, device)
    if match is None:
        return device
    names = disks()
    index = _index(match[1])
    if index >= len(names):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), device)
    return f"/dev/{names[index]}{match[2]}"


def wire_name(path: str) -> str:
    """Return a kernel's device path as named on the wire."""
    match = re.fullmatch(_DISK, path)
    if match is None:
        return path
    disk = path[len("/dev/") : len(path) - len(match[2])]
    names = disks()
    return f"/dev/sd{letters(names.index(disk))}{match[2]}" if disk in names else path


def checked_device(device: str) -> str:
    """Return the kernel's path of a device named on the wire.

    Raises:
        OSError: it does not open.
        CallError: it is no block device.
    """
    if not device.startswith("/dev/") or "/../" in device or "\0" in device:
        raise CallError(f"{device}: not the name of a device")
    path = real_name(device)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, device) from exc
    try:
        if not modes.S_ISBLK(os.fstat(descriptor).st_mode):
            raise CallError(f"{device}: not a block device")
    finally:
        os.close(descriptor)
    return path


def names_device(name: bytes) -> bool:
    """Tell whether a ``DeviceOrPath`` means a device: any ``/dev/sdX``, or a block device of the appliance."""
    if not name.startswith(b"/dev/") or b"/../" in name:
        return False
    if re.fullmatch(_DISK, os.fsdecode(name)):
        return True
    try:
        return modes.S_ISBLK(os.stat(name).st_mode)
    except OSError:
        return False


def partitions() -> list[str]:
    """Return the kernel's paths of the partitions of all disks, in order."""
    return [f"/dev/{part}" for disk in disks() for _, part in _partitions_of(disk)]


def _partitions_of(disk: str) -> list[tuple[int, str]]:
    rows = []
    for name in os.listdir(f"{_SYS_BLOCK}/{disk}"):
        number = f"{_SYS_BLOCK}/{disk}/{name}/partition"
        if os.path.exists(number):
            rows.append((_number(number), name))
    return sorted(rows)


def _number(path: str) -> int:
    with open(path, "rb") as file:
        return int(file.read())


@handles(procedures.LIST_DEVICES)
def list_devices(_session: Session, _args: NoArgs) -> list[str]:
    """Name the whole disks."""
    return [f"/dev/sd{letters(index)}" for index in range(len(disks()))]


@handles(procedures.NR_DEVICES)
def nr_devices(_session: Session, _args: NoArgs) -> int:
    """Count the whole disks."""
    return len(disks())


@handles(procedures.LIST_PARTITIONS)
def list_partitions(_session: Session, _args: NoArgs) -> list[str]:
    """Name the partitions."""
    return [wire_name(path) for path in partitions()]


@handles(procedures.IS_WHOLE_DEVICE)
def is_whole_device(_session: Session, args: DeviceArgs) -> bool:
    """Tell whether a device is a disk and not a part of one."""
    return os.path.exists(f"{_SYS_BLOCK}/{os.path.basename(os.path.realpath(args.device))}")


def _sys_entry(device: str) -> str:
    number = os.stat(device).st_rdev
    return f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"


@handles(procedures.BLOCKDEV_GETSIZE64)
def blockdev_getsize64(_session: Session, args: DeviceArgs) -> int:
    """Return the size of a device in bytes."""
    return _number(f"{_sys_entry(args.device)}/size") * 512


@handles(procedures.BLOCKDEV_GETSS)
def blockdev_getss(_session: Session, args: DeviceArgs) -> int:
    """Return the logical sector size in bytes."""
    entry = os.path.realpath(_sys_entry(args.device))
    queue = f"{entry}/queue" if os.path.isdir(f"{entry}/queue") else f"{os.path.dirname(entry)}/queue"
    return _number(f"{queue}/logical_block_size")


@handles(procedures.PREAD_DEVICE)
def pread_device(_session: Session, args: PreadDeviceArgs) -> bytes:
    """Return part of a device."""
    checked_range(args.count, args.offset)
    descriptor = os.open(args.device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, args.count, args.offset)
    finally:
        os.close(descriptor)


@handles(procedures.PART_LIST)
def part_list(session: Session, args: DeviceArgs) -> list[Partition]:
    """Return the partitions of a disk, in bytes; ``part_end`` is the last byte."""
    part_get_parttype(session, args)  # refuses a disk without a partition table
    disk = os.path.basename(os.path.realpath(args.device))
    rows = []
    for number, name in _partitions_of(disk):
        start = _number(f"{_SYS_BLOCK}/{disk}/{name}/start") * 512
        size = _number(f"{_SYS_BLOCK}/{disk}/{name}/size") * 512
        rows.append(Partition(number, start, start + size - 1, size))
    return rows


@handles(procedures.PART_GET_PARTTYPE)
def part_get_parttype(_session: Session, args: DeviceArgs) -> str:
    """Return the kind of a disk's partition table: gpt, msdos and so on."""
    output = run(["blkid", "-p", "-o", "value", "-s", "PTTYPE", args.device], accept=(0, 2)).decode().strip()
    if not output:
        raise OSError(EINVAL, "no partition table", wire_name(args.device))
    return {"dos": "msdos"}.get(output, output)
