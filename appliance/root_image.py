"""The root filesystem: the tree, the daemon and its script, as an ext2 image made without root."""

import os
import shutil
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trio

from appliance.process import ProgramFailed, run_program
from appliance.tree import compile_python
from rpc.errors import ImageError

SCRIPT: Final = Path(__file__).with_name("init")
DAEMON_PACKAGES: Final = ("rpc", "daemon", "xdrlib3")
_HOME: Final = "usr/lib/guestfsd"
_SPARE_BYTES: Final = 48 << 20


def daemon_sources() -> dict[str, Path]:
    """Return the directories of the packages that the daemon runs from."""
    found = {}
    for name in DAEMON_PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ImageError(f"the Python package {name} is not installed")
        found[name] = Path(spec.origin).parent
    return found


async def write_root(tree: Path, staging: Path, root: Path) -> None:
    """Write the image of ``tree`` with the daemon in it; ``staging`` must not exist and is left behind.

    Raises:
        ImageError: mke2fs failed, for example for want of space.
    """
    await trio.to_thread.run_sync(_stage, tree, staging)
    await compile_python(staging, _HOME)
    size_bytes = await trio.to_thread.run_sync(_image_bytes, staging)
    options: list[str | Path] = ["-q", "-t", "ext2", "-b", "4096", "-m", "0", "-U", str(uuid.uuid4()), "-d", staging]
    try:
        await run_program(["mke2fs", *options, root, f"{size_bytes // 1024}k"])
    except ProgramFailed as exc:
        raise ImageError(f"cannot write the appliance's root {root}: {exc}") from exc


def _stage(tree: Path, staging: Path) -> None:
    """Link the tree's files and add the daemon."""
    shutil.copytree(tree, staging, symlinks=True, copy_function=os.link, ignore=shutil.ignore_patterns("boot"))
    for name, source in daemon_sources().items():
        shutil.copytree(source, staging / _HOME / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SCRIPT, staging / "init")
    (staging / "init").chmod(0o755)


def _image_bytes(staging: Path) -> int:
    """Return the size of an image with room for all."""
    blocks = sum((path.lstat().st_size + 8191) // 4096 for path in staging.rglob("*"))
    return blocks * 4096 + _SPARE_BYTES
