"""Block devices: their order and their names.

``/dev/sdX`` on the wire means disk X in the order the drives were added, whatever the kernel calls it (section 4.1);
``/dev/disk/guestfs/LABEL`` the disk that was added with a label; ``/dev/VG/LV`` a logical volume.
"""

import os
import re
import stat as modes
from errno import ENOENT
from typing import Final

from daemon.session import CallError
from rpc.mountables import volume_of_mapping

_SYS_BLOCK: Final = "/sys/block"
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LABELS: Final = "/dev/disk/guestfs/"
_DISK: Final = r"/dev/(?:sd|hd|vd|xvd)([a-z]+)(\d*)"
"""Compiled when it is first used: at each boot that would take as long as a tenth of all imports."""


def disks() -> list[str]:
    """Return the kernel's names of the guest's disks in the order they were added; the appliance's own is left out."""
    own = own_disk()
    found = []
    for name in os.listdir(_SYS_BLOCK):
        if re.fullmatch(r"(sd|vd)[a-z]+", name) and name != own:
            place = os.path.realpath(f"{_SYS_BLOCK}/{name}/device")
            numbers = tuple(int(number) for number in re.findall(r"\d+", place.rpartition("/")[2]))
            found.append((name[:2], numbers, len(name), name))
    return [name for *_, name in sorted(found)]


def _own_number() -> int:
    """Return the device number of what holds the appliance's root."""
    return os.stat("/").st_dev


def own_disk() -> str | None:
    """Return the disk that holds the appliance's root, on whatever bus it is."""
    number = _own_number()
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


def labelled_disks() -> dict[str, str]:
    """Return the serial number of each disk that has one, which is the label it was added with, and the disk's name.

    A SCSI disk has it on its "unit serial number" page, behind four bytes of header (SPC-4, 7.8.16).
    """
    found = {}
    for name in disks():
        for place, header_bytes in ((f"{name}/device/vpd_pg80", 4), (f"{name}/serial", 0)):
            try:
                with open(f"{_SYS_BLOCK}/{place}", "rb") as file:
                    label = file.read()[header_bytes:].strip(b" \n\0")
            except FileNotFoundError:
                continue
            found[os.fsdecode(label)] = name
    return found


def _labelled(name: str) -> str:
    """Return the kernel's path for ``LABEL`` or ``LABEL`` and the number of a partition; empty if there is none."""
    labels = labelled_disks()
    bare = name.rstrip("0123456789")
    if name in labels:
        return f"/dev/{labels[name]}"
    return f"/dev/{labels[bare]}{name[len(bare) :]}" if bare in labels else ""


def real_name(device: str) -> str:
    """Return the kernel's path of a device as named on the wire."""
    if device.startswith(_LABELS):
        return _labelled(device[len(_LABELS) :]) or device
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
        return _volume_name(path) if path.startswith(("/dev/mapper/", "/dev/dm-")) else path
    disk = path[len("/dev/") : len(path) - len(match[2])]
    names = disks()
    return f"/dev/sd{letters(names.index(disk))}{match[2]}" if disk in names else path


def _volume_name(path: str) -> str:
    """Return ``/dev/VG/LV`` for a logical volume, whose mapping is called ``VG-LV``, each ``-`` in a name doubled."""
    entry = f"/sys/class/block/{os.path.basename(os.path.realpath(path))}/dm"
    if not os.path.isdir(entry):  # /dev/mapper/NAME may be a node of its own
        number = os.stat(path).st_rdev
        entry = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/dm"
    uuid, name = mapping_of(entry)
    volume = volume_of_mapping(name) if uuid.startswith("LVM-") else None
    return "/dev/" + "/".join(volume) if volume is not None else path


def mapping_of(entry: str) -> tuple[str, str]:
    """Return UUID and name of a device-mapper device from its directory in sysfs."""
    with open(f"{entry}/uuid") as uuid, open(f"{entry}/name") as name:
        return uuid.read().strip(), name.read().strip()


def _is_plain(device: str) -> bool:
    """Tell whether a name is a device's as it is spelt on the wire: ``/dev//vda`` would reach the kernel's own vda."""
    return device.startswith("/dev/") and "\0" not in device and os.path.normpath(device) == device


def _opened(path: str) -> int:
    """Open a device; what is no disk may have to be put together first."""
    try:
        return os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        if not put_together(path):
            raise
    return os.open(path, _OPEN_FLAGS)


def put_together(path: str) -> bool:
    """Put arrays and volumes together if a device that is missing may be one of them; True if that was news."""
    if re.fullmatch(_DISK, path):
        return False
    from daemon.assembly import assemble

    return assemble()


def checked_device(device: str) -> str:
    """Return the kernel's path of a device named on the wire.

    Raises:
        OSError: it does not open; ENOENT for a name outside ``/dev``, another spelling, and the appliance's own disk.
        CallError: it is no block device.
    """
    if not _is_plain(device):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), device)
    path = real_name(device)
    try:
        descriptor = _opened(path)
    except OSError as exc:
        raise OSError(exc.errno, _reason(exc, device), device) from exc
    try:
        info = os.fstat(descriptor)
        if not modes.S_ISBLK(info.st_mode):
            raise CallError(f"{device}: not a block device")
        if info.st_rdev == _own_number():
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), device)
    finally:
        os.close(descriptor)
    return path


def _reason(error: OSError, device: str) -> str:
    """Return why a device does not open, with what is known of one that should have been put together."""
    text = error.strerror or str(error)
    if error.errno != ENOENT or re.fullmatch(_DISK, device):
        return text
    from daemon.assembly import why_missing

    why = why_missing(device)
    return f"{text}: {why}" if why else text


def names_device(name: bytes) -> bool:
    """Tell whether a ``DeviceOrPath`` means a device: any ``/dev/sdX``, or a block device of the appliance."""
    device = os.fsdecode(name)
    if not _is_plain(device):
        return False
    if re.fullmatch(_DISK, device) or device.startswith(_LABELS):
        return True
    try:
        return modes.S_ISBLK(os.stat(name).st_mode)
    except OSError:
        return put_together(device) and names_device(name)


def partitions_of(disk: str) -> list[tuple[int, str]]:
    """Return numbers and names of a disk's partitions, in order."""
    rows = []
    for name in os.listdir(f"{_SYS_BLOCK}/{disk}"):
        number = f"{_SYS_BLOCK}/{disk}/{name}/partition"
        if os.path.exists(number):
            with open(number, "rb") as file:
                rows.append((int(file.read()), name))
    return sorted(rows)


def partitions() -> list[str]:
    """Return the kernel's paths of the partitions of all disks, in order."""
    return [f"/dev/{part}" for disk in disks() for _, part in partitions_of(disk)]
