"""Templates: machines that have booted, kept as files to be restored, each for exactly one way to start qemu.

A template is one file, so that it is there whole or not at all: the guest's memory, the state of the devices, and an
end that tells of both. Until it is whole it has no name, so nothing is left of a maker that is killed.
"""

import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from appliance.config import ApplianceFiles
from rpc.errors import ImageError

_END: Final = struct.Struct(">QQq32s32s16s8s")
"""Bytes of memory and state, the file's time in ns, SHA-256 of the state and of qemu's version, key, magic number."""
_MAGIC: Final = b"GMPYTPL2"


class TemplateUnusable(Exception):
    """A template that is damaged, or another's."""


class Template(NamedTuple):
    """An open template.

    Attributes:
        memory: the whole file; its beginning is the guest's memory.
        state: the same file, to be read from here on.
        maker: digest of the version of the qemu that made it.
    """

    memory: BinaryIO
    state: BinaryIO
    maker: bytes


def template_key(files: ApplianceFiles, program: Path, argv: list[str], accelerator: str) -> str:
    """Return what a template's content depends on, as a short hash.

    Args:
        files: what is booted; an appliance's directory is named after all that it is made of, the daemon's code too.
        program: qemu; its version, which a script of this name would hide, is in the template itself.
        argv: how it is started, which tells memory, CPU and devices.
        accelerator: with ``kvm`` the guest has seen the host's CPU.

    Raises:
        OSError: a file is not there.
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


def maker_of(version: str) -> bytes:
    """Return what a template keeps of its maker's version."""
    return hashlib.sha256(version.encode()).digest()


@contextmanager
def opened_template(path: Path, key: str) -> Iterator[Template]:
    """Open a template.

    Its memory is not read for this: a change shows in the time of the file, which its end knows.

    Raises:
        FileNotFoundError: there is none.
        TemplateUnusable: it was cut short, changed or made for something else.
    """
    with path.open("rb") as memory, path.open("rb") as state:
        info = os.fstat(memory.fileno())
        if info.st_size < _END.size:
            raise TemplateUnusable("it was cut short")
        memory.seek(info.st_size - _END.size)
        memory_bytes, state_bytes, time_ns, digest, maker, made_for, magic = _END.unpack(memory.read(_END.size))
        if magic != _MAGIC or memory_bytes + state_bytes + _END.size != info.st_size:
            raise TemplateUnusable("it was cut short")
        if made_for.rstrip(b"\0") != key.encode():
            raise TemplateUnusable("it was made for something else")
        if time_ns != info.st_mtime_ns:
            raise TemplateUnusable("it was changed")
        state.seek(memory_bytes)
        if hashlib.sha256(state.read(state_bytes)).digest() != digest:
            raise TemplateUnusable("its state is damaged")
        os.lseek(state.fileno(), memory_bytes, os.SEEK_SET)  # where qemu reads on
        yield Template(memory, state, maker)


@contextmanager
def nameless_file(directory: Path, memory_bytes: int) -> Iterator[BinaryIO]:
    """Yield a private file to fill with memory and state; the place for the state is where it stands.

    Raises:
        ImageError: the filesystem has no such files, or no room.
    """
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "r+b", buffering=0)
    except OSError as exc:
        raise _unkept(directory, exc) from exc
    with file:
        try:
            file.truncate(memory_bytes)
        except OSError as exc:
            raise _unkept(directory, exc) from exc
        file.seek(memory_bytes)
        yield file


def finish_template(file: BinaryIO, path: Path, key: str, memory_bytes: int, maker: bytes) -> None:
    """Put the end behind memory and state, give the file its name, in place of an older one, and try to open it.

    Args:
        file: of ``nameless_file``, filled.
        path: the name it gets.
        key: what it can be restored for.
        memory_bytes: where the state begins.
        maker: what ``maker_of`` its qemu's version gives.

    Raises:
        ImageError: the disk is full or fails, or the filesystem does not keep what a template needs.
    """
    try:
        state_bytes = file.seek(0, os.SEEK_END) - memory_bytes
        file.seek(memory_bytes)
        digest = hashlib.sha256(file.read(state_bytes)).digest()
        now_ns = time.time_ns()
        os.utime(file.fileno(), ns=(now_ns, now_ns))
        kept_ns = os.fstat(file.fileno()).st_mtime_ns  # some filesystems keep whole seconds only
        end = _END.pack(memory_bytes, state_bytes, kept_ns, digest, maker, key.encode(), _MAGIC)
        os.posix_fallocate(file.fileno(), memory_bytes + state_bytes, len(end))
        os.pwrite(file.fileno(), end, memory_bytes + state_bytes)
        os.fsync(file.fileno())
        os.utime(file.fileno(), ns=(now_ns, kept_ns))
        path.unlink(missing_ok=True)
        _link(file.fileno(), path)
        with opened_template(path, key):
            pass
    except OSError as exc:
        raise _unkept(path.parent, exc) from exc
    except TemplateUnusable as exc:
        path.unlink(missing_ok=True)
        raise ImageError(f"cannot keep a template in {path.parent}: {exc}") from exc


def _link(descriptor: int, path: Path) -> None:
    here = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # with a directory given, os.link is linkat(2), which follows this symlink to the nameless file
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=here)
    finally:
        os.close(here)


def _unkept(directory: Path, exc: OSError) -> ImageError:
    return ImageError(f"cannot keep a template in {directory}: {exc.strerror}")
