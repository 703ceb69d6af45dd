"""The command line: ``python -m bench``. Its exit status says whether every row keeps its limit."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import contenders, image, processes, report
from bench.measure import Disagreement, measure
from bench.rows import ROWS

RESULTS: Final = Path(__file__).parent / "results.json"
DOCUMENT: Final = contenders.REPOSITORY / "docs" / "performance.md"
ROUNDS: Final = 3

EXIT_SLOWER: Final = 1
EXIT_FAILED: Final = 2


def main() -> int:
    """Measure, print, write; return 0 if every row keeps its limit, 1 if one does not, 2 if the bench failed."""
    options = _parse(sys.argv[1:])
    if os.geteuid() != 0:
        # Dropping the page cache and loop mounts need root.
        os.execvp(
            "sudo",
            ["sudo", "--preserve-env=PATH,LIBGUESTFS_BACKEND_SETTINGS", sys.executable, "-m", "bench", *sys.argv[1:]],
        )
    # A terminated bench unwinds like an interrupted one, and unmounts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))
    processes.become_subreaper()
    chosen = [contender for contender in contenders.CONTENDERS if contender.name in options.contenders]
    rounds = 1 if options.quick else options.rounds
    try:
        contenders.install_packages()
        workload = image.workload()
        table = measure(
            workload, chosen, {row for row in ROWS if row.name in options.rows}, rounds, patient=not options.quick
        )
        measured = report.results(table, workload, chosen, rounds)
    except (Disagreement, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED
    text = json.dumps(measured, indent=1, ensure_ascii=False) + "\n"
    if options.json is not None:
        options.json.write_text(text)
    print(report.markdown_table(measured), report.cpu_table(measured), sep="\n\n")
    if options.write_docs:
        RESULTS.write_text(text)
        report.write_docs(measured, DOCUMENT)
    slower = report.slower_rows(measured)
    if slower:
        print(f"bench: above the limit: {', '.join(slower)}", file=sys.stderr)
    return EXIT_SLOWER if slower else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [contender.name for contender in contenders.CONTENDERS]
    rows = [row.name for row in ROWS]
    parser.add_argument("--contenders", nargs="+", choices=names, default=names, help="measure only these")
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="measure only these")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="samples per row; the median counts (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round, in which guestmount writes nothing")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--write-docs", action="store_true", help="update docs/performance.md and bench/results.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
