"""A random mixture of calls gives the same answers from both daemons, on identical disks, errno included."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.guests.disk import mounted
from tests.interoperability.differences import unexplained
from tests.interoperability.left_on_disks import files_left
from tests.interoperability.mixture import COUNT, SEED, Mixture
from tests.interoperability.mixture_on_disks import make_root_image, play_mixture
from tests.interoperability.side_by_side import side_by_side
from tests.interoperability.stage import Stage
from tests.thoroughness import LONG

pytestmark = [pytest.mark.appliance, pytest.mark.root]

_SEED: Final = int(os.environ.get("MIXTURE_SEED", SEED))
_COUNT: Final = int(os.environ.get("MIXTURE_COUNT", COUNT if LONG else COUNT // 4))


def test_the_same_calls_get_the_same_answers(stages: dict[str, Stage], tmp_path: Path) -> None:
    image = make_root_image(tmp_path)
    ours, theirs = side_by_side(stages, lambda stage: play_mixture(stage, image, _SEED, _COUNT))
    assert unexplained("mixture", ours, theirs) == []


def test_the_mixture_is_a_mixture(tmp_path: Path) -> None:
    calls = list(Mixture(SEED, tmp_path).calls(COUNT))
    assert len({call.name for call in calls}) > 100
    assert [str(call) for call in calls] == [str(call) for call in Mixture(SEED, tmp_path).calls(COUNT)]


def test_what_the_disks_hold_is_seen(tmp_path: Path) -> None:
    image = make_root_image(tmp_path)
    before = files_left(image, ["a", "b"])
    with mounted(image, "-o", "loop") as root:
        os.setxattr(root / "b", "user.one", b"1")
        (root / "Dir/new").symlink_to("b")
    after = files_left(image, ["a", "b"])
    assert [before[0] == after[0], before[1] == after[1], before[2] == after[2]] == [True, False, False]
