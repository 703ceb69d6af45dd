"""The power is cut at any moment: what fsync has returned for is there afterwards, and the filesystem is sound."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.system.sandbox import REPOSITORY
from tests.thoroughness import LONG
from tests.writing.ledger import Ledger
from tests.writing.machines import DaemonsMachine, KernelMachine, Machine, check_image, make_image, our_machine

CUTS: Final = (
    ("ext4", "raw", 60),
    ("ext4", "qcow2", 60),
    ("ext4", "raw", 60),
    ("ext4", "qcow2", 60),
    ("ext4", "raw", 20),
    ("xfs", "raw", 20),
    ("btrfs", "raw", 20),
)
"""How often each disk's power is cut, one disk after another: 300 in all, a tenth of them unless LONG."""
DAEMONS_CUTS: Final = (("ext4", 60), ("ext4", 60), ("xfs", 40))
"""Of disks that real daemons serve, without qemu: all of them always."""
AT_ONCE: Final = 3
LONGEST_S: Final = 0.4
PROMISES_MAX: Final = 3
"""The writer has made up to so many when the time begins after which the power is cut, however slow it is."""
WRITER_S: Final = 120.0


def cut_while_writing(machine: Machine, ledger: Ledger, source: random.Random, *words: str) -> str:
    """Mount, compare with what was promised so far, write, cut the power; return what was done."""
    try:
        root = machine.mount()
        problems = ledger.verify(root)
        assert not problems, "\n".join(problems)
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.writing.writer", root, str(source.randrange(1 << 32)), *words],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with writer:
            assert writer.stdin is not None
            writer.stdin.write(json.dumps(ledger.names()) + "\n")
            writer.stdin.close()
            with noted(writer, ledger) as wait_for:
                wait_for(source.randrange(PROMISES_MAX + 1))
                time.sleep(LONGEST_S * source.random())
                ledger.trusting = not machine.lies_when_cut
                done = machine.cut()
    finally:
        machine.clear()
    return done


@contextmanager
def noted(writer: "subprocess.Popen[str]", ledger: Ledger) -> Iterator[Callable[[int], None]]:
    """Keep the ledger of what the writer says, and at the end wait for its end.

    Yields what waits until the writer has begun and then made so many promises.
    """
    said = threading.Condition()
    lines, before = 0, ledger.promises

    def note() -> None:
        nonlocal lines
        assert writer.stdout is not None
        for line in writer.stdout:
            with said:
                ledger.note(json.loads(line))
                lines += 1
                said.notify()

    def wait_for(promises: int) -> None:
        with said:
            assert said.wait_for(lambda: lines and ledger.promises - before >= promises, WRITER_S)

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield wait_for
    finally:
        thread.join(WRITER_S)
        if thread.is_alive():
            writer.kill()
            thread.join()
            pytest.fail("the writer did not notice that the power was cut")


def cut_again_and_again(machine: Machine, count: int, seed: int, filesystem: str, format_: str = "raw") -> int:
    """Cut a machine's power so often; return how many promises were made."""
    source, ledger = random.Random(seed), Ledger()
    done: list[str] = []
    try:
        for _ in range(count):
            done.append(cut_while_writing(machine, ledger, source))
            check_image(machine.image, filesystem, format_)
        try:
            assert ledger.verify(machine.mount()) == []
        finally:
            machine.clear()
    except BaseException as exc:
        exc.add_note(f"{filesystem} {format_}, seed {seed}, after {len(done)} cuts, the last of which {done[-1:]}")
        raise
    return ledger.promises


@pytest.mark.root
def test_kernels_filesystem_keeps_its_promises(tmp_path: Path) -> None:
    # Of xfs this would say nothing: after its shutdown call, fsync of a directory still succeeds.
    machine = KernelMachine(make_image(tmp_path / "disk.img", "ext4"))
    assert cut_again_and_again(machine, 10, random.SystemRandom().randrange(1 << 32), "ext4") > 5


@pytest.mark.root
def test_writer_that_lies_about_fsync_is_found_out(tmp_path: Path) -> None:
    machine = KernelMachine(make_image(tmp_path / "disk.img", "ext4"))
    ledger = Ledger()
    cut_while_writing(machine, ledger, random.Random(1), "--lie")
    root = machine.mount()
    problems = ledger.verify(root)
    machine.clear()
    assert problems


@pytest.mark.appliance
@pytest.mark.fuse
@pytest.mark.root
def test_every_synced_byte_survives_every_cut(appliance_directory: Path) -> None:
    def chain(filesystem: str, format_: str, count: int) -> int:
        seed = random.SystemRandom().randrange(1 << 32)
        with our_machine(appliance_directory, filesystem, format_, seed) as machine:
            return cut_again_and_again(machine, count, seed, filesystem, format_)

    chains = [(filesystem, format_, count if LONG else count // 10) for filesystem, format_, count in CUTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        promises = sum(pool.map(chain, *zip(*chains, strict=True)))
    cuts = sum(count for _, _, count in chains)
    print(f"{promises} promises kept over {cuts} cuts")
    assert promises > cuts / 2


@pytest.mark.fuse
@pytest.mark.root
def test_every_synced_byte_survives_without_qemu_too(tmp_path: Path) -> None:
    def chain(number: int, filesystem: str, count: int) -> int:
        seed = random.SystemRandom().randrange(1 << 32)
        directory = tmp_path / str(number)
        directory.mkdir()
        machine = DaemonsMachine(make_image(directory / "disk.img", filesystem), seed)
        return cut_again_and_again(machine, count, seed, filesystem)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        promises = sum(pool.map(chain, range(len(DAEMONS_CUTS)), *zip(*DAEMONS_CUTS, strict=True)))
    assert promises > sum(count for _, count in DAEMONS_CUTS) / 2
