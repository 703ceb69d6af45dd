"""Scripts that follow what libguestfs's own tests check behave the same with both appliances."""

import pytest

from tests.interoperability.appliances import OURS, THEIRS
from tests.interoperability.differences import unexplained
from tests.interoperability.scripts import SCRIPTS, Script
from tests.interoperability.stage import Stage

pytestmark = [pytest.mark.appliance, pytest.mark.root]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_observes_the_same_with_both_appliances(stages: dict[str, Stage], script: Script) -> None:
    ours, theirs = (list(script.play(stages[name])) for name in (OURS, THEIRS))
    assert unexplained(script.name, ours, theirs) == []
