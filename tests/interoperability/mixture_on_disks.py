"""The mixture, played on disks that are the same for both appliances."""

import shutil
from pathlib import Path
from typing import Final

from tests.guests.cache import run
from tests.interoperability.left_on_disks import disk_left, files_left
from tests.interoperability.mixture import NAMES, Mixture
from tests.interoperability.outcomes import outcomes
from tests.interoperability.stage import Stage

_ROOT_MIB: Final = 256
_SCRATCH_MIB: Final = 64
_ROOT: Final = "/dev/sda"
_SCRATCH: Final = ("/dev/sdb", "/dev/sdc")
_UUID: Final = "00000000-0000-0000-0000-000000000001"


def make_root_image(directory: Path) -> Path:
    """Make the filesystem that both start from: one allocation of inodes and blocks, one order of names."""
    root, image = directory / "root", directory / "root.img"
    for name in ("mnt", "a", "dir/a", "Dir/b"):
        (root / name).mkdir(parents=True)
    for name in ("b", "c", "é", "dir/b", "a/a"):
        (root / name).write_text(f"this is {name}\n")
    (root / "source").write_bytes(bytes(range(250)) * 40)
    same = ("-U", _UUID, "-E", f"hash_seed={_UUID}")
    run("mke2fs", "-q", "-t", "ext4", *same, "-d", root, image, f"{_ROOT_MIB}M")
    return image


def play_mixture(stage: Stage, root_image: Path, seed: int, count: int) -> list[str]:
    """Make the first calls of a mixture; return them with their answers, and what the disks hold then, a line each."""
    disks = [stage.disk(_SCRATCH_MIB) for _ in (_ROOT, *_SCRATCH)]
    shutil.copyfile(root_image, disks[0])
    local = stage.directory / "mixture"
    local.mkdir()
    mixture = Mixture(seed, local)
    with stage.launched(*disks) as library:
        library.mount(_ROOT, "/")
        answers = outcomes(library, mixture.calls(count), mixture.target)
    left = files_left(disks[0], NAMES)
    return [*answers, *left, *(disk_left(disk, name) for disk, name in zip(disks[1:], _SCRATCH, strict=True))]
