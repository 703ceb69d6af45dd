"""The power is cut after a file was made, got another name, and fsync returned: it is there, by that name."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.guests.cache import run
from tests.writing.machines import DaemonsMachine, check_image, make_image

pytestmark = [pytest.mark.fuse, pytest.mark.root]
DATA = b"0123456789" * 1000


@pytest.mark.parametrize("synced", ["file", "directory"])
def test_renamed_file_survives_by_its_new_name(tmp_path: Path, synced: str) -> None:
    machine = DaemonsMachine(make_image(tmp_path / "disk.img", "ext4"), 0)
    try:
        root = machine.mount()
        (root / "first").write_bytes(b"first")  # so that others can be promised
        descriptor = os.open(root / ".new.XXXXXX", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, DATA)
        (root / ".new.XXXXXX").rename(root / "new")
        directory = os.open(root, os.O_RDONLY)
        os.fsync(descriptor if synced == "file" else directory)
        os.close(directory)
        machine.lies_when_cut = True
        machine.cut()
        with suppress(OSError):  # nobody is there to be told
            os.close(descriptor)
    finally:
        machine.clear()
    check_image(machine.image, "ext4")
    found = tmp_path / "found"
    found.mkdir()
    run("mount", "-o", "loop", machine.image, found)
    try:
        assert not (found / ".new.XXXXXX").exists()
        assert (found / "new").exists()
        if synced == "file":
            assert (found / "new").read_bytes() == DATA
    finally:
        run("umount", found)
