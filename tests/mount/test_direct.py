"""A real filesystem whose files are read from its image, and a daemon that lies about some of them."""

import errno
import json
import os
from pathlib import Path

import pytest

from tests.guests.mapped import contents_of, empty_image, remounted, write_awkward_files
from tests.mount.conftest import mounted

pytestmark = pytest.mark.root

SIZE_MIB = 100
LIARS = ("lie-across", "lie-behind", "lie-far")
UNWRITTEN = "unwritten"
SECRET = b"what stands behind the drive's end in its image\n"


def fill(root: Path) -> None:
    write_awkward_files(root)
    for name in LIARS:
        (root / name).write_bytes(bytes(20_000))


def data_ranges(path: Path) -> list[tuple[int, int]]:
    """Return where a file has data, as lseek(2) tells it."""
    found = []
    end = 0
    with path.open("rb") as file:
        while end < path.stat().st_size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))
    return found


def test_honest_files_are_the_same_and_lies_are_eio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, stats = empty_image(tmp_path / "image", SIZE_MIB), tmp_path / "stats"
    with remounted([image], ("mkfs.ext4", "-q", "-b", "4096"), fill) as (root, (device,)):
        with image.open("ab") as file:
            file.write(SECRET * 1000)
        monkeypatch.setenv("DRIVE", device.name)
        monkeypatch.setenv("DRIVE_BYTES", str(SIZE_MIB << 20))
        options = ["--daemon", "tests.mount.drive_daemon", "--image", str(image), "--stats", str(stats)]
        with mounted(root, tmp_path, *options, may_log="are outside the filesystem") as served:
            for name in LIARS:
                for _ in range(2):
                    with pytest.raises(OSError, match="Input/output error") as caught:
                        (served.path / name).read_bytes()
                    assert caught.value.errno == errno.EIO
            honest = {place: data for place, data in contents_of(root).items() if place not in LIARS}
            for place, data in honest.items():
                if data is not None:
                    ranges = data_ranges(served.path / place)
                    if place != UNWRITTEN:  # whose pages in memory ext4 takes for data
                        assert ranges == data_ranges(root / place), place
                    ends = [0, *(end for _, end in ranges)]
                    starts = [*(start for start, _ in ranges), len(data)]
                    assert not any(any(data[end:start]) for end, start in zip(ends, starts, strict=True)), place
                    assert (served.path / place).read_bytes() == data, place
    planes = json.loads(stats.read_text())["planes"]
    assert planes.keys() == {"raw", "zeros"}
    assert planes["raw"]["bytes"] + planes["zeros"]["bytes"] == sum(len(data or b"") for data in honest.values())
