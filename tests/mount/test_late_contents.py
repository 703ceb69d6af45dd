"""What is fetched by a name that means another file when the guest comes to it is not taken for the former one's."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.mount.conftest import mounted

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
