"""A cache of things that take minutes to build, each under a key made of its recipe."""

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CACHE_DIRECTORY: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "guestmount-py-tests"


def cached(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """Build a directory once, and find it again until its recipe changes.

    The directory appears under its final name only when ``build`` has succeeded. Builds of the same name by other
    processes are waited for, and older recipes of the same name are removed.

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
            return final
        for stale in CACHE_DIRECTORY.glob(f"{name}-{'[0-9a-f]' * 16}"):
            _remove(stale)
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
    finished = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="surrogateescape"
    )
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).strip()
        raise RuntimeError(f"{' '.join(map(os.fspath, command))}: status {finished.returncode}: {said}")
    return finished.stdout


def _remove(directory: Path) -> None:
    # A build that died may have left something mounted inside.
    run("rm", "-rf", "--one-file-system", directory)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
