"""A commit killed at any moment: the overlay is as good as before, and running it again ends the work."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from appliance.image_use import users_of
from tests.guests.cache import run
from tests.overlay.conftest import Place
from tests.overlay.disk import bitmaps, dirty, overlay_program

CUTS = 20
_COMMAND = (sys.executable, "-m", "guestmount_py.overlay_cli", "commit")


async def test_commit_killed_at_any_moment_can_be_ended(place: Place) -> None:
    """Overlay after overlay is killed until it is merged, the program or qemu; now and then a write comes between."""
    seed = int(os.environ.get("OVERLAY_SEED", time.time_ns()))
    print(f"OVERLAY_SEED={seed}")
    dice = random.Random(seed)
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    pages: set[int] = set()
    stages: list[str] = []
    while len(stages) < CUTS:
        await place.create()
        pages |= _write(place, dice, 50, 256 << 10)
        for kills in count():
            if not place.overlay.exists():
                break
            expected = _contents(place.overlay)
            stages.append(_kill(place, dice, longest_s=1 + 0.3 * kills))
            if place.overlay.exists():
                run("qemu-img", "check", place.overlay)
                assert _contents(place.overlay) == expected
                if dice.random() < 0.1:
                    pages |= _write(place, dice, 1, 4096)
        assert _contents(place.base) == expected
        run("qemu-img", "check", place.base)
        assert bitmaps(place.base) == {"daily": ["auto"]}
        assert dirty(place.base, "daily") == pages
        assert place.names() == ["base.qcow2"]
    print(*stages)
    assert set(stages) >= {"begun", "ended"}


def _write(place: Place, dice: random.Random, count: int, length: int) -> set[int]:
    starts = [dice.randrange(60) << 20 for _ in range(count)]
    place.write(*(f"write -P {dice.randrange(1, 256)} {start} {length}" for start in starts))
    return {page for start in starts for page in range(start // 4096, (start + length) // 4096)}


def _contents(image: Path) -> bytes:
    raw = image.with_name("raw")
    run("qemu-img", "convert", "-O", "raw", image, raw)
    digest = hashlib.sha256(raw.read_bytes()).digest()
    raw.unlink()
    return digest


def _kill(place: Place, dice: random.Random, longest_s: float) -> str:
    """Kill a commit a while after its start, or after its journal was there; return how far it had come."""
    journal = place.overlay.with_name("overlay.qcow2.commit")
    resumed = journal.exists()
    with subprocess.Popen([*_COMMAND, place.overlay], stderr=subprocess.PIPE) as process:
        if not resumed and dice.random() < 0.7:
            while not journal.exists() and process.poll() is None:
                time.sleep(0.0005)
            time.sleep(dice.random() * 0.1)
        else:
            time.sleep(dice.uniform(0.2, longest_s))
        victims = _children(process.pid) if dice.random() < 0.3 else []
        for pid in victims or [process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it had ended by itself
        _, said = process.communicate(timeout=60)
    if victims and process.returncode == 1:
        assert said.count(b"\n") == 1, said
    end_s = time.monotonic() + 30
    while users_of(place.base) or users_of(place.overlay) or _is_locked(place.base):
        assert time.monotonic() < end_s, "what was killed holds the images still"
        time.sleep(0.001)  # qemu's tools are about to die
    return "ended" if not place.overlay.exists() else "begun" if journal.exists() else "not begun"


def _is_locked(image: Path) -> bool:
    """Tell whether the kernel has not yet taken the locks back from a process that is not to be seen any more."""
    checked = subprocess.run(["qemu-img", "info", image], capture_output=True, text=True, check=False)
    return "lock" in checked.stderr


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


async def test_commit_killed_before_its_last_step_can_be_done_again(place: Place) -> None:
    """The journal has gone, and the base was written to since the overlay was made: by the commit itself."""
    run("qemu-img", "bitmap", "--add", "-g", "4096", place.base, "daily")
    await place.create()
    place.write("write -P 5 10M 64k")
    script = (
        "import os, trio, guestmount_py.overlay_commit as commit\n"
        "from pathlib import Path\n"
        "commit.remove = lambda overlay: os._exit(9)\n"
        f"trio.run(commit.commit_overlay, Path({str(place.overlay)!r}))\n"
    )
    with pytest.raises(RuntimeError, match="status 9"):
        run(sys.executable, "-c", script)
    assert place.names() == ["base.qcow2", "overlay.qcow2"]
    done = overlay_program("commit", place.overlay)
    assert (done.returncode, done.stderr) == (0, "")
    assert dirty(place.base, "daily") == set(range((10 << 20) // 4096, (10 << 20) // 4096 + 16))
    assert place.names() == ["base.qcow2"]
