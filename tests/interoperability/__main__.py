"""Play scripts and the mixture with both appliances, keep what they observed, and write docs/interoperability.md.

python -m tests.interoperability             all of them; needs root and the packages of ``make test``
python -m tests.interoperability NAME...     some scripts, or ``mixture``
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.interoperability import results
from tests.interoperability.appliances import OURS, THEIRS, build_ours, open_stage, their_appliance
from tests.interoperability.differences import unexplained
from tests.interoperability.mixture import COUNT, SEED
from tests.interoperability.mixture_on_disks import make_root_image, play_mixture
from tests.interoperability.report import DOCUMENT, document
from tests.interoperability.results import MIXTURE, Result
from tests.interoperability.scripts import SCRIPTS, Play
from tests.interoperability.side_by_side import side_by_side
from tests.interoperability.stage import Stage


def main(names: list[str]) -> int:
    """Run the command line; return the exit status: 1 if something differs without a reason."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guestmount-test-", dir="/var/tmp")))
        (directory / "ours").mkdir()
        build_ours(directory / "ours")
        image = make_root_image(directory)
        plays: dict[str, Play] = {script.name: script.play for script in SCRIPTS}
        plays[MIXTURE] = lambda stage: iter(play_mixture(stage, image, SEED, COUNT))
        stages = {
            OURS: stack.enter_context(open_stage(directory / "ours")),
            THEIRS: stack.enter_context(open_stage(their_appliance())),
        }
        failed = [name for name in names or plays if not _agreed(name, plays[name], stages)]
    DOCUMENT.write_text(document(results.load()))
    return 1 if failed else 0


def _agreed(name: str, play: Play, stages: dict[str, Stage]) -> bool:
    """Play with both, keep the result, and tell whether all that differs has a reason."""

    def timed(stage: Stage) -> tuple[list[str], float]:
        start_s = time.monotonic()
        return list(play(stage)), time.monotonic() - start_s

    (ours, ours_s), (theirs, theirs_s) = side_by_side(stages, timed)
    sys.stdout.write(f"{name}: {len(ours)} answers, {ours_s:.1f} s and {theirs_s:.1f} s\n")
    result = Result(ours, theirs, round(ours_s, 1), round(theirs_s, 1))
    results.save(name, results.shortened(result) if name == MIXTURE else result)
    different = unexplained(name, ours, theirs)
    for expected, got in different:
        sys.stdout.write(f"  expected {expected}\n       got {got}\n")
    return not different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
