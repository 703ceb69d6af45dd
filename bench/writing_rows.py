"""The rows about writing, and the work that they time.

What is written keeps the times of its source, so that the disks can be compared afterwards.
"""

from pathlib import Path
from typing import Final

from bench.row import Outcome, Row, Step
from bench.work import timed
from bench.writing_image import ARCHIVE, BIG_FILE, FOUR_FILES, SMALL_FILES, TREE


def _write(mounted: Path, sources: Path) -> Outcome:
    seconds, _ = timed(mounted, f"dd if={sources}/{BIG_FILE} of={BIG_FILE} bs=1M conv=fsync")
    timed(mounted, f"touch -r {sources}/{BIG_FILE} {BIG_FILE}")
    return Outcome(seconds, "")


def _write_at_once(mounted: Path, sources: Path) -> Outcome:
    files = " ".join(FOUR_FILES)
    write = f"for file in {files}; do dd if={sources}/$file of=$file bs=1M conv=fsync & pids+=($!); done"
    seconds, _ = timed(mounted, f'{write}; for pid in "${{pids[@]}}"; do wait $pid || exit; done')
    timed(mounted, f"for file in {files}; do touch -r {sources}/$file $file; done")
    return Outcome(seconds, "")


def _untar(mounted: Path, sources: Path) -> Outcome:
    # An fsync of one file has guestmount write out everything, and the others the metadata of all.
    return Outcome(timed(mounted, f"tar -xf {sources}/{ARCHIVE} && sync {SMALL_FILES}/directory-99/file-99")[0], "")


def _remove(mounted: Path, sources: Path) -> Outcome:
    return Outcome(timed(mounted, f"rm -rf {SMALL_FILES}")[0], "")


def _restore(mounted: Path, sources: Path) -> Outcome:
    return Outcome(timed(mounted, f"rsync -aHAX {sources}/{TREE} . && sync {TREE}/added/rest")[0], "")


WRITE: Final = Row("write", "writing a 256 MiB file, with fsync", "s", limit=1 / 30, limit_kernel=3.0)
WRITE_AT_ONCE: Final = Row("write-at-once", "four files of 64 MiB, all at once, each with fsync", "s", limit=1 / 30)
UNTAR: Final = Row("untar", "untar of 10 000 small files", "s", limit=1 / 15)
REMOVE: Final = Row("remove", "`rm -rf` of them", "s", limit=1 / 5)
RESTORE: Final = Row("restore", "`rsync -aHAX` of 200 MiB into the mount", "s")
WRITING_ROWS: Final = (WRITE, WRITE_AT_ONCE, UNTAR, REMOVE, RESTORE)

# Each inner tuple is played on a disk of its own, each step of it on a mount of its own.
WRITING_SESSIONS: Final = (
    (Step(WRITE, cold=False, work=_write),),
    (Step(WRITE_AT_ONCE, cold=False, work=_write_at_once),),
    (Step(UNTAR, cold=False, work=_untar), Step(REMOVE, cold=False, work=_remove)),
    (Step(RESTORE, cold=False, work=_restore),),
)
