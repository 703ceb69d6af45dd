"""Bytes of a device read, written, copied, zeroed and uploaded: a loop device of this machine."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rpc.arguments import DeviceArgs
from rpc.codec import Device, DeviceOrPath, GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import (
    COPY_DEVICE_TO_DEVICE,
    COPY_DEVICE_TO_FILE,
    COPY_FILE_TO_DEVICE,
    COPY_SIZE,
    DD,
    DOWNLOAD,
    FILE,
    IS_ZERO_DEVICE,
    PWRITE_DEVICE,
    UPLOAD,
    UPLOAD_OFFSET,
    ZERO,
    ZERO_DEVICE,
)
from rpc.procedures.contents import PwriteDeviceArgs
from rpc.procedures.copies import (
    CopyDeviceToDeviceArgs,
    CopyDeviceToFileArgs,
    CopyFileToDeviceArgs,
    CopySizeArgs,
    DdArgs,
)
from rpc.procedures.texts import FileArgs
from rpc.procedures.transfers import RemoteFileArgs, UploadOffsetArgs
from tests.daemon.guestfsd import Guestfsd, started

pytestmark = pytest.mark.root

SIZE_BYTES = 1 << 20


class Disk:
    """A loop device and what is to be found on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.device = Device(str(path))
        self.name = DeviceOrPath(os.fsencode(path))

    def content(self) -> bytes:
        return self.path.read_bytes()


@contextmanager
def attached(image: Path, data: bytes) -> Iterator[Disk]:
    image.write_bytes(data)
    path = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, check=True).stdout.strip()
    try:
        yield Disk(Path(os.fsdecode(path)))
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with attached(tmp_path / "disk", os.urandom(SIZE_BYTES)) as disk:
        yield disk


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[Disk]:
    with attached(tmp_path / "blank", bytes(SIZE_BYTES)) as disk:
        yield disk


def test_pwrite_device(daemon: Guestfsd, disk: Disk) -> None:
    before = disk.content()
    assert daemon.call(PWRITE_DEVICE, PwriteDeviceArgs(disk.device, b"written", 1001)) == 7
    assert disk.content() == before[:1001] + b"written" + before[1008:]
    assert daemon.call(PWRITE_DEVICE, PwriteDeviceArgs(disk.device, b"written", SIZE_BYTES - 3)) == 3
    assert daemon.error(PWRITE_DEVICE, PwriteDeviceArgs(disk.device, b"x", SIZE_BYTES))[0] == "ENOSPC"
    assert daemon.error(PWRITE_DEVICE, PwriteDeviceArgs(disk.device, b"x", -1)) == ("", "offset -1 is negative")


def test_upload_onto_a_device(daemon: Guestfsd, disk: Disk) -> None:
    before = disk.content()
    daemon.upload(UPLOAD, RemoteFileArgs(disk.name), b"a" * 10_000)
    daemon.upload(UPLOAD_OFFSET, UploadOffsetArgs(disk.name, 20_000), b"b" * 10_000)
    expected = b"a" * 10_000 + before[10_000:20_000] + b"b" * 10_000 + before[30_000:]
    assert disk.content() == daemon.download(DOWNLOAD, RemoteFileArgs(disk.name)) == expected


def test_upload_that_is_longer_than_the_device_is_stopped(daemon: Guestfsd, disk: Disk) -> None:
    data = os.urandom(2 * SIZE_BYTES)
    with pytest.raises(ProcedureError) as caught:
        daemon.upload(UPLOAD, RemoteFileArgs(disk.name), data)
    assert caught.value.errno_name == "ENOSPC"
    assert disk.content() == data[:SIZE_BYTES]


def test_copies_between_files_and_devices(daemon: Guestfsd, guest: Path, disk: Disk, blank: Disk) -> None:
    data = disk.content()
    new = GuestPath(b"/new")
    daemon.call(COPY_DEVICE_TO_FILE, CopyDeviceToFileArgs(disk.device, new, 100, 5, 1000))
    assert (guest / "new").read_bytes() == bytes(5) + data[100:1100]
    daemon.call(COPY_DEVICE_TO_FILE, CopyDeviceToFileArgs(disk.device, new, append=True, size=7))
    assert (guest / "new").read_bytes() == bytes(5) + data[100:1100] + data[:7]
    daemon.call(COPY_FILE_TO_DEVICE, CopyFileToDeviceArgs(new, blank.device, destoffset=3))
    assert blank.content() == bytes(8) + data[100:1100] + data[:7] + bytes(SIZE_BYTES - 1015)
    daemon.call(COPY_DEVICE_TO_DEVICE, CopyDeviceToDeviceArgs(disk.device, blank.device))
    assert blank.content() == data


def test_copy_that_does_not_fit(daemon: Guestfsd, disk: Disk, blank: Disk) -> None:
    args = CopyDeviceToDeviceArgs(disk.device, blank.device, destoffset=1)
    assert daemon.error(COPY_DEVICE_TO_DEVICE, args)[0] == "ENOSPC"
    assert daemon.error(COPY_DEVICE_TO_DEVICE, args._replace(append=True))[0] == ""


def test_sparse_copy_leaves_blocks_of_zeros_out(daemon: Guestfsd, disk: Disk, blank: Disk) -> None:
    daemon.call(PWRITE_DEVICE, PwriteDeviceArgs(blank.device, b"x", 8192))
    before = disk.content()
    daemon.call(COPY_DEVICE_TO_DEVICE, CopyDeviceToDeviceArgs(blank.device, disk.device, sparse=True))
    assert disk.content() == before[:8192] + b"x" + bytes(4095) + before[12288:]


def test_deprecated_copies(daemon: Guestfsd, guest: Path, disk: Disk, blank: Disk) -> None:
    new = DeviceOrPath(b"/new")
    daemon.call(DD, DdArgs(disk.name, new))
    assert (guest / "new").read_bytes() == disk.content()
    daemon.call(DD, DdArgs(new, blank.name))
    assert blank.content() == disk.content()
    daemon.call(COPY_SIZE, CopySizeArgs(DeviceOrPath(b"/hello"), blank.name, 5))
    assert blank.content() == b"hello" + disk.content()[5:]


def test_zero_clears_the_start_and_zero_device_all(daemon: Guestfsd, disk: Disk) -> None:
    before = disk.content()
    assert daemon.call(IS_ZERO_DEVICE, DeviceArgs(disk.device)) is False
    daemon.call(ZERO, DeviceArgs(disk.device))
    assert disk.content() == bytes(128 * 1024) + before[128 * 1024 :]
    assert daemon.call(IS_ZERO_DEVICE, DeviceArgs(disk.device)) is False
    daemon.call(ZERO_DEVICE, DeviceArgs(disk.device))
    assert disk.content() == bytes(SIZE_BYTES)
    assert daemon.call(IS_ZERO_DEVICE, DeviceArgs(disk.device)) is True


def test_zero_device_reports_progress(guest: Path, disk: Disk) -> None:
    often = "import daemon.progress as p\np.DELAY_S = p.INTERVAL_S = 0\n"
    prelude = f"{often}import daemon.copies as c\nc._ZERO_STEP_BYTES = 65536"
    with started(guest, prelude=prelude) as guestfsd:
        guestfsd.call(ZERO_DEVICE, DeviceArgs(disk.device))
        assert len(guestfsd.progress) == 17
        assert {progress.total for progress in guestfsd.progress} == {SIZE_BYTES}
        assert guestfsd.progress[-1].position == SIZE_BYTES


def test_file_looks_into_a_device(daemon: Guestfsd, blank: Disk) -> None:
    daemon.call(PWRITE_DEVICE, PwriteDeviceArgs(blank.device, b"text of the disk\n", 0))
    subprocess.run(["mkfs.ext2", "-q", blank.path], check=True)
    assert daemon.call(FILE, FileArgs(blank.name)).startswith("Linux rev 1.0 ext2 filesystem data")
