"""The rows about writing, played by the kernel alone; in a process of their own, for they kill what is below it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import sys
from pathlib import Path
from bench import measure
from bench.contenders import CONTENDERS, KERNEL
from bench.row import Outcome, Step
from bench.writing_rows import WRITE

def written(text):
    def work(mounted, sources):
        (mounted / "file").write_bytes(text)
        run("touch", "--date=@0", mounted / "file")
        return Outcome(1.0, "")
    return [Step(WRITE, cold=False, work=work)]

run = measure.run
measure.sources = lambda: Path(sys.argv[1])
(kernel,) = [contender for contender in CONTENDERS if contender.name == KERNEL]
table = measure.Table()
for text in (b"one", b"one", b"two"):
    measure._time_writing(kernel.writing, written(text), {WRITE}, table)
"""


def test_contender_that_wrote_something_else_fails_the_bench(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300)
    assert finished.stderr.count("kernel: write 1.00 s") == 3
    assert finished.stderr.splitlines()[-1].startswith("bench.measure.Disagreement: write: kernel found tree ")
