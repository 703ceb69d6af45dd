"""What an appliance is asked to be."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from rpc.errors import UsageError

Accelerator: TypeAlias = Literal["auto", "kvm", "tcg"]

TEMPLATE_VARIABLE: Final = "GUESTMOUNT_PY_TEMPLATE"
MEMORY_MIB: Final = 512
MEMORY_MIN_MIB: Final = 256
"""libguestfs's minimum."""
LUKS2_MEMORY_MIB: Final = 1536
"""Room for Argon2id, to which cryptsetup gives up to 1 GiB (cryptsetup: configure.ac), beside the appliance itself."""
_WRITERS_CPUS: Final = 2


@dataclass(frozen=True, slots=True)
class RemoteDisk:
    """A disk that a server has.

    Attributes:
        uri: what to call it, without anything secret.
        node: how qemu reaches it, a ``BlockdevOptions`` (qemu: qapi/block-core.json) without the password.
        password: of the server, None if it asks for none, or not by qemu.
    """

    uri: str
    node: Mapping[str, Any]
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One image to attach.

    Attributes:
        path: where it is.
        writable: the guest writes to the image itself; otherwise the image is only read.
        format: what the user says it is; None means: find out, and trust nothing the image says of other files.
            ``split`` is a raw image in parts, of which ``path`` is the first.
        blocksize_bytes: sector size shown to the guest, 512 or 4096; None for qemu's default.
        snapshot: name or number of a qcow2 image's internal snapshot, which is shown in its place.
        key: of an encrypted qcow2 image.
        only_read: also where others are written to, as a CD is.
    """

    path: Path | RemoteDisk
    format: str | None = None
    blocksize_bytes: int | None = None
    writable: bool = False
    snapshot: str | None = None
    key: str | None = field(default=None, repr=False)
    only_read: bool = False

    def absolute(self) -> "Drive":
        """Return the same with a name that is good in every working directory."""
        return replace(self, path=self.path.absolute()) if isinstance(self.path, Path) else self


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceFiles:
    """What qemu boots.

    Attributes:
        resumable: its daemon is known to be one that can be saved and restored; libguestfs's cannot.
    """

    kernel: Path
    initrd: Path
    root: Path
    resumable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceConfig:
    """How to launch.

    Attributes:
        memory_mib: of the guest; None for as much as the job needs, see ``ram_mib``.
        encrypted: a LUKS2 device is to be opened.
        smp: CPUs of the guest; None for as many as the job needs, see ``cpus``.
        channel_count: conversations with the daemon, each served by a process of its own.
        launch_timeout_s: longest time until the daemon's launch word.
        append: further words of the kernel command line.
        template: launch by restoring a machine that has booted before, made first if there is none.
        temporary: directory for the overlays, which take what mounting writes (a journal's replay); they have no names.
    """

    drives: tuple[Drive, ...]
    memory_mib: int | None = None
    encrypted: bool = False
    smp: int | None = None
    channel_count: int = 4
    accelerator: Accelerator = "auto"
    launch_timeout_s: float = 1200.0
    verbose: bool = False
    append: str = ""
    qemu: str = "qemu-system-x86_64"
    template: bool = True
    temporary: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    @property
    def ram_mib(self) -> int:
        """Return how much memory the guest gets, which is also one size of template each."""
        if self.memory_mib is not None:
            return self.memory_mib
        return LUKS2_MEMORY_MIB if self.encrypted else MEMORY_MIB

    @property
    def cpus(self) -> int:
        """Return how many processors the guest gets: two if it is written to and the host has two.

        Two of the daemon's processes make files at once then: unpacking 10 000 takes 0.7 of the time. Reading many of
        them, under emulation on two cores, was not faster with a second one.
        """
        if self.smp is not None:
            return self.smp
        if any(drive.writable for drive in self.drives):
            return min(_WRITERS_CPUS, len(os.sched_getaffinity(0)))
        return 1


def config_from_environment(
    drives: tuple[Drive, ...], *, verbose: bool, environment: Mapping[str, str] = os.environ
) -> ApplianceConfig:
    """Return a configuration that honours libguestfs's variables.

    LIBGUESTFS_HV, LIBGUESTFS_MEMSIZE, LIBGUESTFS_APPEND, LIBGUESTFS_TMPDIR (else TMPDIR), LIBGUESTFS_BACKEND_SETTINGS
    (force_tcg, force_kvm); and one of ours, GUESTMOUNT_PY_TEMPLATE (0: boot every time).

    Raises:
        UsageError: LIBGUESTFS_MEMSIZE is no number, or too low; GUESTMOUNT_PY_TEMPLATE is neither 0 nor 1.
    """
    memory = environment.get("LIBGUESTFS_MEMSIZE")
    if memory is not None and (not memory.isdecimal() or int(memory) < MEMORY_MIN_MIB):
        raise UsageError(f"LIBGUESTFS_MEMSIZE={memory}: give a number of MiB, at least {MEMORY_MIN_MIB}")
    template = environment.get(TEMPLATE_VARIABLE) or "1"
    if template not in ("0", "1"):
        raise UsageError(f"{TEMPLATE_VARIABLE}={template}: give 1, or 0 to boot the appliance every time")
    settings = environment.get("LIBGUESTFS_BACKEND_SETTINGS", "").split(":")
    accelerator: Accelerator = "auto"
    if "force_tcg" in settings:
        accelerator = "tcg"
    elif "force_kvm" in settings:
        accelerator = "kvm"
    return ApplianceConfig(
        drives=drives,
        memory_mib=int(memory) if memory else None,
        accelerator=accelerator,
        verbose=verbose,
        append=environment.get("LIBGUESTFS_APPEND", ""),
        qemu=environment.get("LIBGUESTFS_HV") or environment.get("LIBGUESTFS_QEMU") or "qemu-system-x86_64",
        template=template == "1",
        temporary=Path(environment.get("LIBGUESTFS_TMPDIR") or tempfile.gettempdir()),
    )
