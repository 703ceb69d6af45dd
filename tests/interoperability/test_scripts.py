"""Scripts that follow what libguestfs's own tests check observe with our appliance what they did with libguestfs's."""

from typing import Final

import pytest

from tests.interoperability import results
from tests.interoperability.appliances import THEIRS
from tests.interoperability.differences import unexplained
from tests.interoperability.scripts import SCRIPTS, Script
from tests.interoperability.stage import Stage
from tests.thoroughness import LONG

pytestmark = [pytest.mark.appliance, pytest.mark.root]

OURS_QUICK_S: Final = 30
THEIRS_QUICK_S: Final = 12
KEPT: Final = results.load()
"""What ``python -m tests.interoperability`` saw when it played them with both."""


@pytest.mark.parametrize(
    "script",
    [script for script in SCRIPTS if LONG or KEPT[script.name].ours_s <= OURS_QUICK_S],
    ids=lambda script: script.name,
)
def test_script_observes_the_same_as_with_libguestfs_appliance(our_stage: Stage, script: Script) -> None:
    assert unexplained(script.name, list(script.play(our_stage)), KEPT[script.name].theirs) == []


@pytest.mark.parametrize(
    "script",
    [script for script in SCRIPTS if LONG or KEPT[script.name].theirs_s <= THEIRS_QUICK_S],
    ids=lambda script: script.name,
)
def test_what_is_kept_of_libguestfs_appliance_is_what_it_does(stages: dict[str, Stage], script: Script) -> None:
    assert list(script.play(stages[THEIRS])) == list(KEPT[script.name].theirs)
