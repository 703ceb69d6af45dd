"""Does KVM really work here? Found out by starting a guest, and remembered until the next boot."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import trio

from appliance.cache import cache_directory, make_private
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.packages import Log
from appliance.qemu_args import kernel_command_line, machine_arguments
from appliance.qemu_process import QemuProcess
from rpc.errors import ImageError

_KVM: Final = Path("/dev/kvm")
_PROBE_S: Final = 10.0
"""A working KVM needs well below a second."""
_BOOTED: Final = b"Unable to mount root fs"
"""What a kernel says at its end. A guest that crashes under a broken KVM resets, with the same exit status."""


async def choose_accelerator(config: ApplianceConfig, files: ApplianceFiles, log: Log) -> Literal["kvm", "tcg"]:
    """Return ``kvm`` or ``tcg``; the user's choice wins, and KVM is tried once per boot, qemu and kernel."""
    if config.accelerator != "auto":
        return config.accelerator
    program = shutil.which(config.qemu)
    if program is None or not os.access(_KVM, os.R_OK | os.W_OK):
        return "tcg"
    record = _record(Path(program), files.kernel)
    with suppress(OSError):
        return "kvm" if record.read_text() == "kvm" else "tcg"
    works = await accelerator_works("kvm", config, files)
    if not works:
        log(f"{_KVM} is there but does not work: using emulation (TCG), which is slower")
    with suppress(OSError, ImageError):  # without a cache it is found out again
        make_private(record.parent)
        partial = record.with_name(f"{record.name}.{os.getpid()}")
        partial.write_text("kvm" if works else "tcg")
        partial.rename(record)
    return "kvm" if works else "tcg"


async def accelerator_works(accelerator: str, config: ApplianceConfig, files: ApplianceFiles) -> bool:
    """Boot the appliance's kernel until it misses its root, which takes any kernel; a crash or a hang means no."""
    argv = [config.qemu, *machine_arguments(config, accelerator), "-kernel", str(files.kernel)]
    argv += ["-append", kernel_command_line(config, "panic=-1")]
    with os.fdopen(os.memfd_create("console"), "w+b") as console:
        process = QemuProcess(argv, (), console.fileno())
        try:
            with trio.move_on_after(_PROBE_S):
                await process.wait()
        finally:
            process.close()
        console.seek(0)
        return _BOOTED in console.read()


def _record(program: Path, kernel: Path) -> Path:
    """Return the file that remembers the answer for this boot, this qemu and a kernel of this size."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    info = program.resolve().stat()
    key = f"{boot} {program.resolve()} {info.st_size} {info.st_mtime_ns} {kernel.stat().st_size}"
    return cache_directory() / f"accelerator-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
