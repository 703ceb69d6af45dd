"""What is fetched by a name that means another file when the guest comes to it is not taken for the former one's.

Nor is a file lost that has another name, though the kernel forgets that name meanwhile.
"""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.mount.conftest import mounted
from tests.posix.syscalls import forget_files

pytestmark = pytest.mark.root


def test_neighbour_that_lost_the_name_by_which_it_is_fetched_keeps_its_contents(tmp_path: Path) -> None:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    for directory in (source, source / "near", source / "far", scratch):
        directory.mkdir()
    (source / "near/read").write_bytes(b"read")
    (source / "near/neighbour").write_bytes(b"former")
    os.link(source / "near/neighbour", source / "far/other name")
    with mounted(source, scratch, "--rw", "--daemon", "tests.mount.slow_daemon") as mount:
        assert {path.name for path in (mount.path / "near").iterdir()} == {"neighbour", "read"}
        assert (mount.path / "far/other name").stat().st_nlink == 2
        reader = threading.Thread(target=(mount.path / "near/read").read_bytes)
        reader.start()
        while not (source / "asked").exists():
            time.sleep(0.01)
        (mount.path / "near/neighbour").unlink()
        with (mount.path / "near/neighbour").open("wb", buffering=0) as file:
            file.write(b"latter")
            os.fsync(file.fileno())
        (source / "now").touch()
        reader.join()
        assert (mount.path / "far/other name").read_bytes() == b"former"
        assert (mount.path / "near/neighbour").read_bytes() == b"latter"


def test_file_whose_other_name_is_forgotten_while_one_is_replaced_is_still_read(tmp_path: Path) -> None:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    for directory in (source, source / "near", source / "far", scratch):
        directory.mkdir()
    (source / "near/name").write_bytes(b"former")
    os.link(source / "near/name", source / "far/other name")
    (source / "near/new").write_bytes(b"latter")
    with mounted(source, scratch, "--rw", "--daemon", "tests.mount.slow_daemon") as mount:
        with (mount.path / "near/name").open("rb", buffering=0) as file:
            assert (mount.path / "far/other name").stat().st_nlink == 2
            rename = threading.Thread(target=os.rename, args=(mount.path / "near/new", mount.path / "near/name"))
            rename.start()
            while not (source / "asked").exists():
                time.sleep(0.01)
            for _ in range(5):
                forget_files()
                time.sleep(0.1)
            (source / "now").touch()
            rename.join()
            assert file.read() == b"former"
        assert (mount.path / "near/name").read_bytes() == b"latter"
