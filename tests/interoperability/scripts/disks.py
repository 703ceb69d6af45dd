"""Many disks, and their names."""

import os
from collections.abc import Iterator
from typing import Final

from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked

_MARK_BYTES: Final = 512


def _many(stage: Stage, count: int) -> Iterator[str]:
    disks = [stage.disk(1) for _ in range(count)]
    for index, disk in enumerate(disks):
        with disk.open("r+b") as file:
            file.write(f"disk {index}".encode().ljust(_MARK_BYTES, b"."))
    with stage.launched(*disks) as library:
        names = library.list_devices()
        yield f"list_devices: {names}"
        yield asked(library, "nr_devices")
        looked_at = {0, 1, 25, 26, 27, 127, 128, count - 1}
        wrong = [
            name
            for index, name in enumerate(names)
            if index in looked_at
            and library.pread_device(name, _MARK_BYTES, 0).rstrip(b".") != f"disk {index}".encode()
        ]
        yield f"disks that are not in the order they were added: {wrong}"
        assert (len(names), wrong) == (count, [])
        yield from (asked(library, "device_index", name) for name in (names[0], names[-1], "/dev/sdzzz"))
        library.part_disk(names[-1], "mbr")
        library.mkfs("ext2", f"{names[-1]}1")
        yield asked(library, "list_partitions")
        library.mount(f"{names[-1]}1", "/")
        library.write("/file", b"on the last disk")
        yield asked(library, "mounts")
        yield asked(library, "blockdev_getsize64", f"{names[-1]}1")


@script("27 disks: /dev/sda to /dev/sdaa, each the one it should be")
def disks_27(stage: Stage) -> Iterator[str]:
    yield from _many(stage, 27)


@script("255 disks, as many as the library allows")
def disks_255(stage: Stage) -> Iterator[str]:
    yield from _many(stage, 255)


@script("drives: read-only ones take writes and forget them; labels; sector sizes; /dev/null")
def kinds_of_drives(stage: Stage) -> Iterator[str]:
    disk = stage.disk(16)
    with stage.library() as library:
        library.add_drive(os.fspath(disk), format="raw", readonly=True, label="first")
        library.add_drive(os.fspath(stage.disk(16)), format="raw", label="second", blocksize=4096)
        library.add_drive_ro("/dev/null")
        library.launch()
        yield f"list_disk_labels: {sorted(library.list_disk_labels())}"
        devices = library.list_devices()
        for name in ("blockdev_getsize64", "blockdev_getss", "blockdev_getro", "is_whole_device"):
            yield from (asked(library, name, device) for device in devices[:2])
        library.mkfs("ext2", "/dev/sda")
        library.mount("/dev/sda", "/")
        library.write("/file", b"forgotten")
        yield asked(library, "list_filesystems")
        library.shutdown()
    yield f"the image is still blank: {not any(disk.read_bytes())}"
