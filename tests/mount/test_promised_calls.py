"""What is promised is gathered: the guest is called a few times for many names, and nobody waits for each."""

import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.mount.conftest import mounted

pytestmark = pytest.mark.root

FILES: Final = 40


@pytest.fixture
def tried(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Return a directory to be served, one for the mount, and the file that names the calls."""
    calls, source = (tmp_path / name for name in ("calls", "source"))
    monkeypatch.setenv("CALLS", str(calls))
    source.mkdir()
    return source, scratch, calls


def _counted(calls: Path) -> Counter[str]:
    return Counter(calls.read_text().split())


def test_files_that_are_put_in_place_like_rsync_does_are_made_by_their_last_names(
    tried: tuple[Path, Path, Path],
) -> None:
    source, scratch, calls = tried
    with mounted(source, scratch, "--rw", "--daemon", "tests.mount.counting_daemon") as mount:
        place = mount.path / "place"
        place.mkdir()
        delayed = 0
        for number in range(FILES):
            began_s = time.monotonic()
            temporary = place / f".file-{number}.tmp"
            temporary.write_bytes(b"%d" % number)
            os.chown(temporary, 1, 1)
            temporary.chmod(0o640)
            os.utime(temporary, ns=(number, number))
            temporary.rename(place / f"file-{number}")
            delayed += time.monotonic() - began_s > 0.1
    counted = _counted(calls)
    assert {path.name for path in (source / "place").iterdir()} == {f"file-{number}" for number in range(FILES)}
    assert delayed < FILES / 2
    assert counted["rename_file"] <= 1 + delayed  # one by which it is known that names can go from there
    assert counted["make_file"] <= 2  # the directory, and the first file
    assert counted["change_files"] < FILES / 2
    assert [(source / f"place/file-{number}").stat().st_mtime_ns for number in range(FILES)] == list(range(FILES))


def test_symbolic_links_are_made_together(tried: tuple[Path, Path, Path]) -> None:
    source, scratch, calls = tried
    with mounted(source, scratch, "--rw", "--daemon", "tests.mount.counting_daemon") as mount:
        place = mount.path / "place"
        place.mkdir()
        for number in range(FILES):
            (place / f"link-{number}").symlink_to(f"target-{number}")
    counted = _counted(calls)
    assert counted["make_file"] <= 2
    assert counted["change_files"] < FILES / 2
    assert {path.name: str(path.readlink()) for path in (source / "place").iterdir()} == {
        f"link-{number}": f"target-{number}" for number in range(FILES)
    }


def test_tree_that_is_removed_is_listed_ahead(tried: tuple[Path, Path, Path]) -> None:
    source, scratch, calls = tried
    for number in range(FILES):
        (source / f"tree/directory-{number}").mkdir(parents=True)
        (source / f"tree/directory-{number}/file").touch()
    with mounted(source, scratch, "--rw", "--daemon", "tests.mount.counting_daemon") as mount:
        subprocess.run(["rm", "-rf", mount.path / "tree"], check=True)
    counted = _counted(calls)
    assert counted["walk"] < FILES / 4
    assert counted.total() < FILES
    assert not (source / "tree").exists()
