"""Does KVM really work here? Found out by starting a guest, and remembered until the next boot."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import trio

from appliance.cache import cache_directory, make_private
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.packages import Log
from appliance.qemu_args import kernel_command_line, machine_arguments
from appliance.qemu_process import QemuProcess

_KVM: Final = Path("/dev/kvm")
_PROBE_S: Final = 10.0
"""A working KVM needs well below a second."""


async def choose_accelerator(config: ApplianceConfig, files: ApplianceFiles, log: Log) -> str:
    """Return ``kvm`` or ``tcg``; the user's choice wins, and KVM is tried once per boot, qemu and kernel."""
    if config.accelerator != "auto":
        return config.accelerator
    if not os.access(_KVM, os.R_OK | os.W_OK) or shutil.which(config.qemu) is None:
        return "tcg"
    remembered = _record(config, files)
    if remembered.is_file():
        return remembered.read_text()
    works = await accelerator_works("kvm", config, files)
    if not works:
        log(f"{_KVM} is there but does not work: using emulation (TCG), which is slower")
    choice = "kvm" if works else "tcg"
    partial = remembered.with_suffix(f".{os.getpid()}")
    partial.write_text(choice)
    partial.rename(remembered)
    return choice


async def accelerator_works(accelerator: str, config: ApplianceConfig, files: ApplianceFiles) -> bool:
    """Boot the appliance's kernel to its first program, which powers off; a crash or a hang means no."""
    argv = [config.qemu, *machine_arguments(config, accelerator), "-kernel", str(files.kernel)]
    argv += ["-initrd", str(files.initrd), "-append", kernel_command_line(config, "guestfs_probe")]
    process = QemuProcess(argv, (), subprocess.DEVNULL)
    try:
        with trio.move_on_after(_PROBE_S):
            return await process.wait() == 0
        return False
    finally:
        process.close()


def _record(config: ApplianceConfig, files: ApplianceFiles) -> Path:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    kernel = files.kernel.stat()
    key = hashlib.sha256(
        f"{boot} {config.qemu} {os.environ.get('PATH')} {kernel.st_mtime_ns} {kernel.st_size}".encode()
    )
    directory = cache_directory()
    make_private(directory)
    return directory / f"accelerator-{key.hexdigest()[:16]}"
