"""The qemu command line, as a pure function of what is to be launched."""

import json
from collections.abc import Sequence
from typing import Any, Final

from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.drives import CheckedDrive
from rpc import constants

_KERNEL_WORDS: Final = (
    "panic=1 console=ttyS0 edd=off no_timer_check printk.time=1 cgroup_disable=memory usbcore.nousb cryptomgr.notests "
    "tsc=reliable 8250.nr_uarts=1 random.trust_cpu=on scsi_mod.scan=sync mitigations=off selinux=0"
)
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_FIRST_FDSET: Final = 1
_CPU: Final = {
    "kvm": "max,la57=off",
    # Emulated "rep movsb" goes byte by byte, and the guest kernel uses it where the CPU claims it is fast (ERMS, FSRM):
    # without, a download takes half the time. Without AVX the C library uses its SSE2 routines, which translate better.
    "tcg": "max,la57=off,-erms,-fsrm,-avx2,-avx",
}


def qemu_arguments(
    config: ApplianceConfig,
    files: ApplianceFiles,
    *,
    accelerator: str,
    root_uuid: str,
    channel_fds: Sequence[int],
    drives: Sequence[tuple[CheckedDrive, int]],
) -> list[str]:
    """Return the arguments behind the program's name.

    Args:
        config: the machine.
        files: what it boots.
        accelerator: ``kvm`` or ``tcg``.
        root_uuid: of the root's filesystem.
        channel_fds: inherited sockets, one for each channel.
        drives: each with the inherited descriptor of its overlay.
    """
    arguments = [
        *machine_arguments(config, accelerator),
        *("-kernel", str(files.kernel), "-initrd", str(files.initrd)),
        *("-append", kernel_command_line(config, f"root=UUID={root_uuid}")),
        *("-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0"),
        *("-drive", _root_drive(files)),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-device", "virtio-scsi-pci,id=scsi"),
    ]
    for index, (drive, overlay_fd) in enumerate(drives):
        fdset = _FIRST_FDSET + index
        arguments += ["-add-fd", f"fd={overlay_fd},set={fdset}", "-blockdev", _json(_drive_node(drive, index, fdset))]
        arguments += ["-device", _disk_device(drive, index)]
    arguments += ["-device", "virtio-serial-pci,max_ports=31"]
    for index, descriptor in enumerate(channel_fds):
        name = constants.CHANNEL_NAME if index == 0 else f"{constants.EXTRA_CHANNEL_PREFIX}{index}"
        arguments += ["-chardev", f"socket,id=channel{index},fd={descriptor}"]
        arguments += ["-device", f"virtserialport,chardev=channel{index},name={name}"]
    return arguments


def machine_arguments(config: ApplianceConfig, accelerator: str) -> list[str]:
    """Return what every start of the appliance has in common: a bare machine with its console on standard output."""
    return [
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-sandbox", _SANDBOX),
        *("-machine", f"q35,accel={accelerator},graphics=off", "-cpu", _CPU[accelerator]),
        *("-smp", str(config.smp), "-m", str(config.memory_mib), "-serial", "stdio"),
    ]


def kernel_command_line(config: ApplianceConfig, *words: str) -> str:
    """Return the kernel's command line."""
    loudness = "guestfs_verbose=1" if config.verbose else "quiet"
    return " ".join(filter(None, (_KERNEL_WORDS, *words, loudness, config.append)))


def _root_drive(files: ApplianceFiles) -> str:
    """Return the root's drive, which takes writes and forgets them: libguestfs's appliance mounts it for writing."""
    name = str(files.root).replace(",", ",,")
    return f"file={name},id=root,if=none,format=raw,snapshot=on,cache=unsafe"


def _drive_node(drive: CheckedDrive, index: int, fdset: int) -> dict[str, Any]:
    """Return a writable overlay over the image, which itself is only read and may be in use elsewhere."""
    base: dict[str, Any] = {
        "driver": drive.format,
        "read-only": True,
        "force-share": True,
        "file": _protocol_node(drive),
    }
    if drive.format in ("qcow2", "qcow", "qed", "vmdk") and not drive.may_chain:
        base["backing"] = None
    return {
        "driver": "qcow2",
        "node-name": f"drive{index}",
        "file": {"driver": "file", "filename": f"/dev/fdset/{fdset}", "locking": "off"},
        "backing": base,
        "discard": "unmap",
    }


def _protocol_node(drive: CheckedDrive) -> dict[str, Any]:
    driver = "host_device" if drive.is_block_device else "file"
    return {"driver": driver, "filename": str(drive.path), "locking": "off"}


def _disk_device(drive: CheckedDrive, index: int) -> str:
    device = f"scsi-hd,bus=scsi.0,drive=drive{index},scsi-id={index},serial=drive{index},werror=report,rerror=report"
    if drive.blocksize_bytes is not None:
        device += f",logical_block_size={drive.blocksize_bytes},physical_block_size={drive.blocksize_bytes}"
    return device


def _json(node: dict[str, Any]) -> str:
    return json.dumps(node)
