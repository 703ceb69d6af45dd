"""A random mixture of calls gives the same answers from both daemons, on identical disks, errno included."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.guests.cache import run
from tests.interoperability.differences import unexplained
from tests.interoperability.mixture import Mixture
from tests.interoperability.outcomes import outcomes
from tests.interoperability.side_by_side import side_by_side
from tests.interoperability.stage import Stage

pytestmark = [pytest.mark.appliance, pytest.mark.root]

SEED: Final = int(os.environ.get("MIXTURE_SEED", "20261121"))
CALLS: Final = int(os.environ.get("MIXTURE_CALLS", "2000"))
ROOT_MIB: Final = 256
SCRATCH_MIB: Final = 64


@pytest.fixture(scope="module")
def root_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the disk that both start from: one inode and block allocation, one order of names."""
    directory = tmp_path_factory.mktemp("mixture")
    (directory / "root/mnt").mkdir(parents=True)
    (directory / "root/dir").mkdir()
    image = directory / "root.img"
    zero = "00000000-0000-0000-0000-000000000001"
    run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-U",
        zero,
        "-E",
        f"hash_seed={zero}",
        "-d",
        directory / "root",
        image,
        f"{ROOT_MIB}M",
    )
    return image


def play(stage: Stage, root_image: Path) -> list[str]:
    disks = [stage.disk(SCRATCH_MIB) for _ in range(3)]
    shutil.copyfile(root_image, disks[0])
    local = stage.directory / "mixture"
    local.mkdir()
    mixture = Mixture(SEED, local)
    with stage.launched(*disks) as library:
        library.mount("/dev/sda", "/")
        return outcomes(library, mixture.calls(CALLS), mixture.target)


def test_the_same_calls_get_the_same_answers(stages: dict[str, Stage], root_image: Path) -> None:
    ours, theirs = side_by_side(stages, lambda stage: play(stage, root_image))
    assert unexplained("mixture", ours, theirs) == []


def test_the_mixture_is_a_mixture(tmp_path: Path) -> None:
    calls = list(Mixture(SEED, tmp_path).calls(CALLS))
    assert len({call.name for call in calls}) > 100
    assert [str(call) for call in calls] == [str(call) for call in Mixture(SEED, tmp_path).calls(CALLS)]
