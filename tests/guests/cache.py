"""A cache of things that take minutes to build, each under a key made of its recipe."""

import fcntl
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CACHE_DIRECTORY: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "guestmount-py-tests"
UNUSED_S: Final = 24 * 3600.0


def cached(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """Build a directory once, and find it again until its recipe changes.

    The directory appears under its final name only when ``build`` has succeeded. Builds of the same name by other
    processes are waited for, and other recipes' results that nobody used for a day are removed.

    Args:
        name: what it is, part of the directory's name.
        recipe: everything that decides the contents; its digest is the key.
        build: fills the empty directory it is given.

    Returns:
        The finished directory. Treat it as read-only.
    """
    key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    final = CACHE_DIRECTORY / f"{name}-{key}"
    CACHE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE_DIRECTORY / f"{name}.lock"):
        if final.exists():
            os.utime(final)
            return final
        for other in CACHE_DIRECTORY.glob(f"{name}-{'[0-9a-f]' * 16}"):
            if time.time() - other.stat().st_mtime > UNUSED_S:
                _remove(other)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE_DIRECTORY))
        try:
            build(scratch)
            scratch.chmod(0o755)
            scratch.rename(final)
        except BaseException:
            _remove(scratch)
            raise
    return final


def run(*command: str | os.PathLike[str], stdin: str | None = None) -> str:
    """Run a command to the end and return what it printed.

    Raises:
        RuntimeError: the command failed; carries what it said.
    """
    finished = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="surrogateescape")
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).strip()
        raise RuntimeError(f"{' '.join(os.fspath(word) for word in command)}: status {finished.returncode}: {said}")
    return finished.stdout


def _remove(directory: Path) -> None:
    # A build that died may have left something mounted inside.
    run("rm", "-rf", "--one-file-system", directory)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
