"""Play every script and the mixture with both appliances and write docs/interoperability.md.

python -m tests.interoperability             all of it; needs root and the packages of ``make test``
python -m tests.interoperability NAME...     some scripts, printed, nothing written
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.guests.cache import run
from tests.interoperability.appliances import OURS, THEIRS, build_ours, open_stage, their_appliance
from tests.interoperability.differences import unexplained
from tests.interoperability.mixture import COUNT, SEED
from tests.interoperability.mixture_on_disks import make_root_image, play_mixture
from tests.interoperability.report import DOCUMENT, Result, document
from tests.interoperability.scripts import SCRIPTS, Script
from tests.interoperability.side_by_side import side_by_side
from tests.interoperability.stage import Stage


def main(names: list[str]) -> int:
    """Run the command line; return the exit status: 1 if something differs without a reason."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guestmount-test-", dir="/var/tmp")))
        (directory / "ours").mkdir()
        build_ours(directory / "ours")
        stages = {
            OURS: stack.enter_context(open_stage(directory / "ours")),
            THEIRS: stack.enter_context(open_stage(their_appliance())),
        }
        wanted = [script for script in SCRIPTS if not names or script.name in names]
        results = [_played(script, stages) for script in wanted]
        failed = sum(len(unexplained(result.script.name, result.ours, result.theirs)) for result in results)
        if not names:
            image = make_root_image(directory)
            mixture = side_by_side(stages, lambda stage: play_mixture(stage, image, SEED, COUNT))
            failed += len(_printed("mixture", *mixture))
            DOCUMENT.write_text(document(_versions(), results, mixture))
    return 1 if failed else 0


def _played(script: Script, stages: dict[str, Stage]) -> Result:
    def play(stage: Stage) -> tuple[list[str], float]:
        start_s = time.monotonic()
        return list(script.play(stage)), time.monotonic() - start_s

    (ours, ours_s), (theirs, theirs_s) = side_by_side(stages, play)
    sys.stdout.write(f"{script.name}: {len(ours)} answers, {ours_s:.1f} s and {theirs_s:.1f} s\n")
    _printed(script.name, ours, theirs)
    return Result(script, ours, theirs, ours_s, theirs_s)


def _printed(name: str, ours: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    different = unexplained(name, ours, theirs)
    for expected, got in different:
        sys.stdout.write(f"  expected {expected}\n       got {got}\n")
    return different


def _versions() -> str:
    packages = run("dpkg-query", "--show", "--showformat", "${Package} ${Version}, ", "libguestfs0", "qemu-system-x86")
    return f"Versions: {packages.strip(', ')}; emulated (TCG)."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
