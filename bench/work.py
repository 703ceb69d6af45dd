"""What all timed work needs: a shell, a cold page cache, and digests of what was found."""

import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SCRIPT_TIMEOUT_S: Final = 1800.0
SAMPLE_BYTES: Final = 64 << 10
SAMPLE_EVERY_BYTES: Final = 48 << 20


def timed(directory: Path, script: str) -> tuple[float, str]:
    """Run a shell script in a directory; any failing part of a pipeline fails the bench."""
    start_s = time.perf_counter()
    finished = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        timeout=SCRIPT_TIMEOUT_S,
        text=True,
    )
    seconds = time.perf_counter() - start_s
    if finished.returncode != 0:
        raise RuntimeError(
            f"{script}: status {finished.returncode}: {finished.stderr.strip() or finished.stdout.strip()}"
        )
    return seconds, finished.stdout


def drop_page_cache() -> None:
    """Make the kernel forget every clean page, dentry and inode (proc(5), /proc/sys/vm/drop_caches)."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def digest_of_tree(top: Path, *, times: bool = True) -> str:
    """Digest names, types, modes, owners, mtimes, link targets and contents of everything below a directory.

    Args:
        top: the directory.
        times: count the mtimes, in whole seconds: fuse2fs knows no more.
    """
    digest = hashlib.sha256()
    for path in sorted(_walk(top)):
        status = path.lstat()
        facts = (status.st_mode, status.st_uid, status.st_gid, int(status.st_mtime) * times)
        digest.update(os.fsencode(path.relative_to(top)) + repr(facts).encode())
        if stat.S_ISLNK(status.st_mode):
            digest.update(os.fsencode(path.readlink()))
        elif stat.S_ISREG(status.st_mode):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _walk(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def digest_of_samples(path: Path) -> str:
    """Digest some of a large file's bytes, from all over it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for offset_bytes in range(0, path.stat().st_size, SAMPLE_EVERY_BYTES):
            digest.update(os.pread(file.fileno(), SAMPLE_BYTES, offset_bytes))
    return digest.hexdigest()[:16]
