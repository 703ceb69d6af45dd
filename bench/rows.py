"""What is measured: the rows of the table, and the work each of them times."""

from pathlib import Path
from typing import Final

from bench.image import BIG_FILE, FOUR_FILES, SMALL_FILES
from bench.row import Outcome, Row, Step
from bench.scale_image import COUNTS
from bench.work import digest_of_samples, digest_of_tree, timed
from bench.writing_rows import WRITING_ROWS
from guestmount_py.config import DEFAULT_CACHE_MIB


def find(mounted: Path, scratch: Path) -> Outcome:
    """List everything with its attributes."""
    seconds, said = timed(mounted, "find . -ls | wc -l")
    return Outcome(seconds, f"{int(said)} entries")


def _read(mounted: Path, scratch: Path) -> Outcome:
    seconds, said = timed(mounted, f"dd if={BIG_FILE} of=/dev/null bs=1M 2>&1")
    return Outcome(
        seconds, f"{said.splitlines()[-1].split()[0]} bytes, samples {digest_of_samples(mounted / BIG_FILE)}"
    )


def _read_in_turn(mounted: Path, scratch: Path) -> Outcome:
    return _read_four(mounted, f"for file in {' '.join(FOUR_FILES)}; do cat $file | wc -c; done")


def _read_at_once(mounted: Path, scratch: Path) -> Outcome:
    return _read_four(mounted, f"for file in {' '.join(FOUR_FILES)}; do cat $file | wc -c & done; wait")


def _read_four(mounted: Path, script: str) -> Outcome:
    seconds, said = timed(mounted, script)
    samples = " ".join(digest_of_samples(mounted / name) for name in FOUR_FILES)
    return Outcome(seconds, f"{sum(map(int, said.split()))} bytes, samples {samples}")


def _tar(mounted: Path, scratch: Path) -> Outcome:
    # Not `tar -cf /dev/null`: GNU tar notices, and reads nothing.
    seconds, said = timed(mounted, f"tar -cf - {SMALL_FILES} | wc -c")
    return Outcome(seconds, f"{int(said)} bytes")


def _rsync(mounted: Path, scratch: Path) -> Outcome:
    seconds, _ = timed(mounted, f"rsync -a usr '{scratch}/'")
    return Outcome(seconds, f"tree {digest_of_tree(scratch)}")


MOUNT: Final = Row("mount", "time to mounted, cold", "s")
MOUNT_WARM: Final = Row("mount-warm", "time to mounted, warm", "s", limit=1 / 15, limit_absolute=0.8)
INTERPRETER: Final = Row("interpreter", "of which Python's start, before our first line", "s")
MOUNT_BOOTED: Final = Row("mount-booted", "time to mounted, warm, without a template", "s", limit=1 / 2)
INSPECT: Final = Row("inspect", "time to mounted with `-i`, warm", "s", limit=1 / 10)
FIND_COLD: Final = Row("find-cold", "`find -ls`, cold", "s", limit=1 / 6)
FIND_WARM: Final = Row("find-warm", "`find -ls`, warm", "s", limit_kernel=1.5)
READ: Final = Row("read", "reading a 768 MiB file, cold", "s", limit=1 / 25, limit_kernel=1.5)
READ_GUEST: Final = Row("read-guest", "the same, through the guest alone", "s", limit=1 / 3)
READ_IN_TURN: Final = Row("read-in-turn", "four files of 192 MiB, one after another, cold", "s")
READ_AT_ONCE: Final = Row("read-at-once", "the same, all at once", "s", limit_row=("read-in-turn", 1.0))
TAR: Final = Row("tar", "`tar` of 10 000 small files, cold", "s", limit=1 / 8, limit_kernel=2.0)
RSYNC: Final = Row("rsync", "`rsync -a` of /usr, cold", "s", limit=1 / 4, limit_kernel=1.3)
RESIDENT: Final = Row("resident", "resident memory after all of it", "MiB")
PROPORTIONAL: Final = Row("proportional", "proportional memory after all of it", "MiB")
RESTING: Final = Row("resting", "proportional memory when just mounted", "MiB", limit=1 / 3)
CROWD_SIZE: Final = 50
CROWD: Final = Row("crowd", f"proportional memory of each of {CROWD_SIZE} mounts", "MiB", limit_absolute=90)
LAST_OF_CROWD: Final = Row("crowd-last", "time to mounted of the last of them", "s")


def _scale_rows(count: int, *, follows: int | None) -> tuple[Row, Row]:
    """Return what is measured of so many files; at most half as much again as their number says."""
    title = f"`find -ls` of {f'{count:,}'.replace(',', ' ')} files, cold"
    growth = None if follows is None else 1.5 * count / follows
    return (
        Row(f"find-{count}", title, "s", limit_row=(f"find-{follows}", growth) if growth else None),
        Row(
            f"memory-{count}",
            "memory of the FUSE process after that",
            "MiB",
            limit_absolute=_PROCESS_MIB + DEFAULT_CACHE_MIB,
            limit_row=(f"memory-{follows}", growth) if growth else None,
        ),
    )


_PROCESS_MIB: Final = 40
"""What the FUSE process takes for itself."""
SCALE: Final = {
    count: _scale_rows(count, follows=follows) for follows, count in zip((None, *COUNTS), COUNTS, strict=False)
}
"""By number of files: time, and memory."""
MOUNT_ROWS: Final = (MOUNT, MOUNT_WARM, INTERPRETER, MOUNT_BOOTED, INSPECT)
CROWD_ROWS: Final = (CROWD, LAST_OF_CROWD)
ROWS: Final = (
    *MOUNT_ROWS,
    *(FIND_COLD, FIND_WARM, READ, READ_GUEST, READ_IN_TURN, READ_AT_ONCE, TAR, RSYNC),
    *WRITING_ROWS,
    *(RESIDENT, PROPORTIONAL, RESTING),
    *CROWD_ROWS,
    *(row for rows in SCALE.values() for row in rows),
)
MEMORY_ROWS: Final = frozenset({RESIDENT, PROPORTIONAL})

# Each inner tuple runs on a mount of its own, so that no row profits from what another has cached.
SESSIONS: Final = (
    (Step(FIND_COLD, cold=True, work=find), Step(FIND_WARM, cold=False, work=find)),
    (Step(READ, cold=True, work=_read),),
    (Step(READ_GUEST, cold=True, work=_read, by_guest=True),),
    (Step(READ_IN_TURN, cold=True, work=_read_in_turn),),
    (Step(READ_AT_ONCE, cold=True, work=_read_at_once),),
    (Step(TAR, cold=True, work=_tar),),
    (Step(RSYNC, cold=True, work=_rsync),),
)
