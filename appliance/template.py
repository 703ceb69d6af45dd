"""Templates: machines that have booted, kept as files to be restored, each for exactly one way to start qemu.

A template is one file, so that it is there whole or not at all: the guest's memory, the state of the devices, a
manifest, its length and a magic number. Until it is whole it has no name, so nothing is left of a maker that is killed.
"""

import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from appliance.config import ApplianceFiles
from rpc.errors import ImageError

_KEPT: Final = 4
"""Most templates that are kept; one takes about 130 MB on the disk."""
_UNUSED_S: Final = 24 * 3600.0
_PREFIX: Final = "template-"
_FAILED_PREFIX: Final = "failed-template-"
_FAILED_S: Final = 3600.0
"""How long nobody tries again what failed: it costs a boot, and the mount boots anyway then."""
_END: Final = struct.Struct(">Q8s")
_MAGIC: Final = b"GMPYTPL1"
_MANIFEST_MAX_BYTES: Final = 1 << 16


class TemplateUnusable(Exception):
    """A template that is damaged, or another's."""


class Template(NamedTuple):
    """An open template.

    Attributes:
        memory: the whole file; its beginning is the guest's memory.
        state: the same file, to be read from here on.
    """

    path: Path
    memory: BinaryIO
    state: BinaryIO


def template_key(files: ApplianceFiles, program: Path, argv: list[str], accelerator: str) -> str:
    """Return what a template's content depends on, as a short hash.

    Args:
        files: what is booted; an appliance's directory is named after all that it is made of, the daemon's code too.
        program: qemu; its size and time stand for its version.
        argv: how it is started, which tells memory, CPU and devices.
        accelerator: with ``kvm`` the guest has seen the host's CPU.
    """
    parts: list[Any] = [_MAGIC.decode(), argv, accelerator]
    for path in (program, files.kernel, files.initrd, files.root):
        info = path.stat()
        parts.append([str(path.resolve()), info.st_size, info.st_mtime_ns, info.st_ino])
    if accelerator == "kvm":
        parts.append([os.uname().release, _host_cpu()])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _host_cpu() -> list[str]:
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    wanted = ("vendor_id", "cpu family", "model", "stepping", "microcode", "flags")
    return [line for line in lines if line.partition("\t")[0].rstrip() in wanted]


@contextmanager
def opened_template(directory: Path, key: str) -> Iterator[Template]:
    """Open a template and mark it as used.

    Its memory is not read for this: a change shows in the time of the file, which the manifest knows.

    Raises:
        FileNotFoundError: there is none.
        TemplateUnusable: it was cut short, changed or made for something else.
    """
    path = template_path(directory, key)
    with path.open("rb") as memory, path.open("rb") as state:
        info = os.fstat(memory.fileno())
        manifest = _manifest(memory, info.st_size)
        if manifest.get("key") != key:
            raise TemplateUnusable("it was made for something else")
        if manifest.get("mtime_ns") != info.st_mtime_ns:
            raise TemplateUnusable("it was changed")
        state.seek(manifest["memory_bytes"])
        if hashlib.sha256(state.read(manifest["state_bytes"])).hexdigest() != manifest.get("state_sha256"):
            raise TemplateUnusable("its state is damaged")
        os.lseek(state.fileno(), manifest["memory_bytes"], os.SEEK_SET)  # where qemu reads on
        os.utime(memory.fileno(), ns=(time.time_ns(), info.st_mtime_ns))
        yield Template(path, memory, state)


def _manifest(file: BinaryIO, size_bytes: int) -> dict[str, Any]:
    file.seek(max(0, size_bytes - _END.size))
    end = file.read(_END.size)
    if len(end) != _END.size or end[8:] != _MAGIC:
        raise TemplateUnusable("it was cut short")
    length = min(_END.unpack(end)[0], _MANIFEST_MAX_BYTES, size_bytes - _END.size)
    file.seek(size_bytes - _END.size - length)
    try:
        manifest = dict(json.loads(file.read(length)))
        whole_bytes = int(manifest["memory_bytes"]) + int(manifest["state_bytes"]) + length + _END.size
    except (ValueError, TypeError, KeyError) as exc:
        raise TemplateUnusable("its manifest is damaged") from exc
    if whole_bytes != size_bytes:
        raise TemplateUnusable("it was cut short")
    return manifest


@contextmanager
def nameless_file(directory: Path, memory_bytes: int) -> Iterator[BinaryIO]:
    """Yield a private file to fill with memory and state; the place for the state is where it stands.

    Raises:
        ImageError: the filesystem has no such files, or no room.
    """
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ImageError(f"cannot keep a template in {directory}: {exc.strerror}") from exc
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        file.truncate(memory_bytes)
        file.seek(memory_bytes)
        yield file


def finish_template(file: BinaryIO, directory: Path, key: str, memory_bytes: int) -> None:
    """Put the manifest behind memory and state, and give the file its name, in place of an older one.

    Raises:
        OSError: the disk is full or fails.
    """
    state_bytes = file.seek(0, os.SEEK_END) - memory_bytes
    file.seek(memory_bytes)
    digest = hashlib.sha256(file.read(state_bytes)).hexdigest()
    now_ns = time.time_ns()
    manifest = {"key": key, "memory_bytes": memory_bytes, "state_bytes": state_bytes}
    text = json.dumps({**manifest, "state_sha256": digest, "mtime_ns": now_ns}).encode()
    file.write(text + _END.pack(len(text), _MAGIC))
    os.fsync(file.fileno())
    os.utime(file.fileno(), ns=(now_ns, now_ns))
    path = template_path(directory, key)
    path.unlink(missing_ok=True)
    here = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # with a directory given, os.link is linkat(2), which follows this symlink to the nameless file
        os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=here)
    finally:
        os.close(here)


def template_path(directory: Path, key: str) -> Path:
    """Return where a template is kept, if there is one."""
    return directory / f"{_PREFIX}{key}"


def discard_template(directory: Path, key: str) -> None:
    """Remove a template; machines that were restored from it keep what they have mapped."""
    template_path(directory, key).unlink(missing_ok=True)


def failed_lately(directory: Path, key: str) -> bool:
    """Tell whether a template could not be made or restored within the last hour."""
    with suppress(FileNotFoundError):
        return time.time() - (directory / f"{_FAILED_PREFIX}{key}").stat().st_mtime < _FAILED_S
    return False


def note_failure(directory: Path, key: str, *, failed: bool = True) -> None:
    """Remember that a template could not be made or restored, or forget it."""
    mark = directory / f"{_FAILED_PREFIX}{key}"
    if failed:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def prune_templates(directory: Path) -> None:
    """Make room for one more: the oldest go, and those not used for a day; call with the makers' lock held."""
    for path in directory.glob(f"{_FAILED_PREFIX}*"):
        if not failed_lately(directory, path.name.removeprefix(_FAILED_PREFIX)):
            path.unlink(missing_ok=True)
    used = {}
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            used[path] = path.stat().st_atime
    newest = sorted(used, key=lambda path: used[path], reverse=True)
    for path in newest:
        if path in newest[_KEPT - 1 :] or time.time() - used[path] > _UNUSED_S:
            path.unlink(missing_ok=True)
