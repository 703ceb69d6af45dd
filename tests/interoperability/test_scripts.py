"""Scripts that follow what libguestfs's own tests check behave the same with both appliances."""

import pytest

from tests.interoperability.differences import unexplained
from tests.interoperability.scripts import SCRIPTS, Script
from tests.interoperability.side_by_side import side_by_side
from tests.interoperability.stage import Stage

pytestmark = [pytest.mark.appliance, pytest.mark.root]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_observes_the_same_with_both_appliances(stages: dict[str, Stage], script: Script) -> None:
    ours, theirs = side_by_side(stages, lambda stage: list(script.play(stage)))
    assert unexplained(script.name, ours, theirs) == []
