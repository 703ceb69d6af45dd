"""Run the contenders in turn, row by row, and collect what they took and what they found."""

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from bench import processes
from bench.contenders import KERNEL, OURS, THEIRS, Contender
from bench.crowd import crowd_of
from bench.image import Workload
from bench.row import Row, Step
from bench.rows import (
    CROWD,
    CROWD_ROWS,
    CROWD_SIZE,
    INSPECT,
    INTERPRETER,
    LAST_OF_CROWD,
    MEMORY_ROWS,
    MOUNT,
    MOUNT_BOOTED,
    MOUNT_WARM,
    PROPORTIONAL,
    RESIDENT,
    RESTING,
    SCALE,
    SESSIONS,
    find,
)
from bench.scale_image import scale_image, tree
from bench.session import session
from bench.work import drop_page_cache
from bench.writing_image import check_disk, empty_disk, sources
from bench.writing_rows import WRITING_SESSIONS
from tests.guests.cache import run


class Disagreement(Exception):
    """Two contenders did not see the same files, so their times cannot be compared."""


@dataclass(slots=True)
class Cell:
    """What was measured of one contender in one row.

    Attributes:
        samples: one value per measurement, in the row's unit.
        cpu_s: CPU seconds of the contender's processes by program, summed over the samples.
    """

    samples: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def value(self) -> float:
        """The median: what a usual run takes, undisturbed by one that met a busy machine."""
        return statistics.median(self.samples)


@dataclass(slots=True)
class Table:
    """Everything measured, by row name and contender name."""

    cells: dict[str, dict[str, Cell]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Cell)))
    found: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, row: Row, contender: str, value: float, cpu_s: Mapping[str, float] = MappingProxyType({})) -> None:
        """Add one sample."""
        cell = self.cells[row.name][contender]
        cell.samples.append(value)
        for program, used_s in cpu_s.items():
            cell.cpu_s[program] += used_s
        print(f"  {contender}: {row.name} {value:.2f} {row.unit}", file=sys.stderr, flush=True)

    def agree(self, row: Row, contender: str, found: str) -> None:
        """Compare with what the first contender found.

        Raises:
            Disagreement: it is not the same.
        """
        first, expected = self.found.setdefault(row.name, (contender, found))
        if found != expected:
            raise Disagreement(f"{row.name}: {contender} found {found}, but {first} found {expected}")


def measure(
    workload: Workload, contenders: Sequence[Contender], rows: AbstractSet[Row], rounds: int, *, patient: bool
) -> Table:
    """Measure the wanted rows of all contenders.

    Time rows are measured once per round, the contenders next to each other, so that a machine which is slow for a
    while is slow for all of them; but guestmount writes only once, for that takes minutes. Memory is measured once, at
    the end of a mount that has done all the work.

    Args:
        workload: what to mount.
        contenders: whom to measure.
        rows: which rows are wanted.
        rounds: how many samples each row gets.
        patient: guestmount writes too.
    """
    table = Table()
    for contender in contenders:
        # Unmeasured: the first launch of an appliance builds it.
        with session(workload, contender):
            pass
    for steps in _wanted(SESSIONS, rows) * rounds:
        for contender in contenders:
            by_guest = any(step.by_guest for step in steps)
            _time(workload, contender.by_guest if by_guest else contender, steps, rows, table)
    for number, steps in enumerate(_wanted(WRITING_SESSIONS, rows) * rounds):
        for contender in contenders:
            if contender.name != THEIRS or (patient and number < len(_wanted(WRITING_SESSIONS, rows))):
                _time_writing(contender.writing, steps, rows, table)
    for contender in [*contenders] * rounds:
        _time_mounts(workload, contender.for_mounting, rows, table)
    for contender in contenders:
        if contender.name == OURS and rows & set(CROWD_ROWS):
            _gather(workload, contender, rows, table)
    if any(rows & set(scale_rows) for scale_rows in SCALE.values()):
        for contender in contenders:
            if contender.name in (OURS, KERNEL):
                _grow(contender, rows, table)
    if rows & MEMORY_ROWS:
        for contender in contenders:
            _weigh(workload, contender, rows, table)
    return table


def _wanted(sessions: Sequence[Sequence[Step]], rows: AbstractSet[Row]) -> list[Sequence[Step]]:
    return [steps for steps in sessions if any(step.row in rows for step in steps)]


def _time(
    workload: Workload, contender: Contender, steps: Sequence[Step], rows: AbstractSet[Row], table: Table
) -> None:
    drop_page_cache()
    with session(workload, contender) as mount:
        for step in steps:
            found = _time_step(contender, step, mount.mounted, mount.scratch, rows, table)
            table.agree(step.row, contender.name, found)


def _time_writing(contender: Contender, steps: Sequence[Step], rows: AbstractSet[Row], table: Table) -> None:
    """Write to a disk; what is on it after each unmount must be the same for every contender."""
    with tempfile.TemporaryDirectory(prefix="guestmount-py-bench-", dir="/var/tmp") as name:
        workload = empty_disk(Path(name))
        for step in steps:
            drop_page_cache()
            source = sources()
            with session(workload, contender) as mount:
                _time_step(contender, step, mount.mounted, source, rows, table)
            # guestmount has lost all times after tar has set them.
            found = check_disk(workload, source, times=contender.name != THEIRS)
            table.agree(step.row, contender.name, found)


def _time_step(
    contender: Contender, step: Step, mounted: Path, other: Path, rows: AbstractSet[Row], table: Table
) -> str:
    """Time one piece of work and return what it found."""
    if step.cold:
        drop_page_cache()
    before = processes.cpu_s()
    outcome = step.work(mounted, other)
    used = {program: used_s - before.get(program, 0.0) for program, used_s in processes.cpu_s().items()}
    if step.row in rows:
        table.add(step.row, contender.name, outcome.seconds, used)
    return outcome.found


def _time_mounts(workload: Workload, contender: Contender, rows: AbstractSet[Row], table: Table) -> None:
    """Mount with an empty page cache, with what earlier mounts have left in it, and then without a template."""
    if MOUNT in rows:
        drop_page_cache()
    if rows & {MOUNT, MOUNT_WARM, RESTING}:  # the first warm mount needs an earlier one of this image
        with session(workload, contender) as mount:
            if MOUNT in rows:
                table.add(MOUNT, contender.name, mount.mount_s, processes.cpu_s())
    if rows & {MOUNT_WARM, RESTING}:
        with session(workload, contender) as mount:
            used, held = processes.cpu_s(), processes.memory()
        if MOUNT_WARM in rows:
            table.add(MOUNT_WARM, contender.name, mount.mount_s, used)
        if MOUNT_BOOTED in rows and contender.name == THEIRS:  # which knows no other way
            table.add(MOUNT_BOOTED, contender.name, mount.mount_s, used)
        if RESTING in rows:
            table.add(RESTING, contender.name, held.proportional_mib)
    if INTERPRETER in rows and contender.name == OURS:
        start_s = time.perf_counter()
        run(sys.executable, "-c", "pass")
        table.add(INTERPRETER, contender.name, time.perf_counter() - start_s)
    if MOUNT_BOOTED in rows and contender.booting is not None:
        booting = replace(contender, environment={**contender.environment, **contender.booting})
        with session(workload, booting) as mount:
            table.add(MOUNT_BOOTED, contender.name, mount.mount_s, processes.cpu_s())
    if INSPECT in rows and contender.mount_inspected is not None:
        with session(workload, replace(contender, mount=contender.mount_inspected)) as mount:
            table.add(INSPECT, contender.name, mount.mount_s, processes.cpu_s())


def _gather(workload: Workload, contender: Contender, rows: AbstractSet[Row], table: Table) -> None:
    crowd = crowd_of(workload, contender, CROWD_SIZE)
    for row, value in ((CROWD, crowd.proportional_mib_each), (LAST_OF_CROWD, crowd.last_mount_s)):
        if row in rows:
            table.add(row, contender.name, value)


def _grow(contender: Contender, rows: AbstractSet[Row], table: Table) -> None:
    """Find ever more files, once each: the largest takes a minute."""
    workload = scale_image()
    for count, (time_row, memory_row) in SCALE.items():
        if not rows & {time_row, memory_row}:
            continue
        with session(workload, contender) as mount:
            drop_page_cache()
            before = processes.cpu_s()
            outcome = find(mount.mounted / tree(count), mount.scratch)
            used = {program: used_s - before.get(program, 0.0) for program, used_s in processes.cpu_s().items()}
            held = processes.memory(Path(sys.executable).name)
        table.agree(time_row, contender.name, outcome.found)
        table.add(time_row, contender.name, outcome.seconds, used)
        if contender.name == OURS:
            table.add(memory_row, contender.name, held.resident_mib)


def _weigh(workload: Workload, contender: Contender, rows: AbstractSet[Row], table: Table) -> None:
    with session(workload, contender) as mount:
        for step in chain.from_iterable(SESSIONS):
            step.work(mount.mounted, mount.scratch)
        held = processes.memory()
    for row, value in ((RESIDENT, held.resident_mib), (PROPORTIONAL, held.proportional_mib)):
        if row in rows:
            table.add(row, contender.name, value)
