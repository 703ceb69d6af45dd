"""The qemu command line, as a pure function of what is to be launched."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.drives import CheckedDrive
from appliance.image_format import CHAINED
from appliance.secrets import key_name, secret_object
from rpc import constants

_KERNEL_WORDS: Final = (
    "panic=1 console=ttyS0 edd=off no_timer_check printk.time=1 cgroup_disable=memory usbcore.nousb cryptomgr.notests "
    "tsc=reliable 8250.nr_uarts=1 random.trust_cpu=on scsi_mod.scan=sync mitigations=off selinux=0 init_on_alloc=0"
)
"""Among them: the kernel need not zero what it allocates, 4 KiB for each path in a system call, which Debian's does."""
_SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_FIRST_FDSET: Final = 1
_CPU: Final = {
    "kvm": "max,la57=off",
    # Emulated "rep movsb" goes byte by byte, and the guest kernel uses it where the CPU claims it is fast (ERMS, FSRM):
    # without, a download takes half the time. Without AVX the C library uses its SSE2 routines, which translate better.
    "tcg": "max,la57=off,-erms,-fsrm,-avx2,-avx",
}


class TemplateFds(NamedTuple):
    """Inherited descriptors of a start that has to do with a template.

    Attributes:
        memory: of the file that is the guest's memory.
        state: of the saved state; None if the template is being made.
    """

    memory: int
    state: int | None = None


def qemu_arguments(
    config: ApplianceConfig,
    files: ApplianceFiles,
    *,
    accelerator: str,
    root_uuid: str,
    channel_fds: Sequence[int],
    control_fd: int,
    drives: Sequence[tuple[CheckedDrive, int | None]],
    template: TemplateFds | None = None,
) -> list[str]:
    """Return the arguments behind the program's name.

    A restored machine is stopped, and waits for its state; its drives are to be added over the control channel. It has
    no kernel to load, which would cost it 50 MiB: what was loaded is in its memory.

    Args:
        config: the machine.
        files: what it boots.
        accelerator: ``kvm`` or ``tcg``.
        root_uuid: of the root's filesystem.
        channel_fds: inherited sockets, one for each channel.
        control_fd: inherited socket of the control channel (QMP).
        drives: each with the inherited descriptor of its overlay, if it has one.
        template: what it is saved to or restored from.
    """
    restored = template is not None and template.state is not None
    arguments = machine_arguments(config, accelerator)
    if template is not None:
        arguments += _template_arguments(config, template)
    arguments += ["-chardev", f"socket,id=control,fd={control_fd}", "-mon", "chardev=control,mode=control"]
    if not restored:
        arguments += ["-kernel", str(files.kernel), "-initrd", str(files.initrd)]
        words = () if template is None else (constants.SAVE_WORD,)
        arguments += ["-append", kernel_command_line(config, f"root=UUID={root_uuid}", *words)]
    arguments += [
        *("-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0"),
        *("-drive", _root_drive(files)),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-device", "virtio-scsi-pci,id=scsi"),
    ]
    for index, (drive, overlay_fd) in enumerate(drives):
        for name, descriptor in () if drive.source is None else drive.source.secrets:
            arguments += ["-object", secret_object(name, descriptor)]
        if overlay_fd is not None:
            arguments += ["-add-fd", f"fd={overlay_fd},set={_FIRST_FDSET + index}"]
        if not restored:
            arguments += ["-blockdev", _json(drive_node(drive, index)), "-device", _json(disk_device(drive, index))]
    arguments += ["-device", "virtio-serial-pci,max_ports=31"]
    for index, descriptor in enumerate(channel_fds):
        name = constants.CHANNEL_NAME if index == 0 else f"{constants.EXTRA_CHANNEL_PREFIX}{index}"
        arguments += ["-chardev", f"socket,id=channel{index},fd={descriptor}"]
        arguments += ["-device", f"virtserialport,id={port_id(index)},chardev=channel{index},name={name}"]
    return arguments


def _template_arguments(config: ApplianceConfig, template: TemplateFds) -> list[str]:
    """Return what makes a file the guest's memory: shared when it is filled, mapped privately when it is restored."""
    share = "on" if template.state is None else "off"
    path = f"/proc/self/fd/{template.memory}"
    return [
        *("-object", f"memory-backend-file,id=ram,size={config.ram_mib}M,mem-path={path},share={share}"),
        *("-machine", "memory-backend=ram"),
        *(() if template.state is None else ("-S", "-incoming", "defer")),
    ]


def machine_arguments(config: ApplianceConfig, accelerator: str) -> list[str]:
    """Return what every start of the appliance has in common: a bare machine with its console on standard output."""
    return [
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-sandbox", _SANDBOX),
        *("-machine", f"q35,accel={accelerator},graphics=off", "-cpu", _CPU[accelerator]),
        *("-smp", str(config.cpus), "-m", str(config.ram_mib), "-serial", "stdio"),
    ]


def kernel_command_line(config: ApplianceConfig, *words: str) -> str:
    """Return the kernel's command line."""
    loudness = constants.VERBOSE_WORD if config.verbose else "quiet"
    return " ".join(filter(None, (_KERNEL_WORDS, *words, loudness, config.append)))


def _root_drive(files: ApplianceFiles) -> str:
    """Return the root's drive, which takes writes and forgets them: libguestfs's appliance mounts it for writing."""
    name = str(files.root).replace(",", ",,")
    return f"file={name},id=root,if=none,format=raw,snapshot=on,cache=unsafe"


def drive_node(drive: CheckedDrive, index: int) -> dict[str, Any]:
    """Return a writable overlay over the image, which itself is only read and may be in use elsewhere.

    If the guest writes to the image, return that: then qemu locks it.
    """
    if drive.writable:
        return _written_node(drive, index)
    base = _format_node(drive, index, _protocol_node(drive), {"read-only": True, "force-share": True})
    return {
        "driver": "qcow2",
        "node-name": node_name(index),
        "file": {"driver": "file", "filename": f"/dev/fdset/{_FIRST_FDSET + index}", "locking": "off"},
        "backing": base,
        "discard": "unmap",
    }


def _written_node(drive: CheckedDrive, index: int) -> dict[str, Any]:
    protocol = {**_protocol_node(drive), "locking": "on"}
    return _format_node(drive, index, protocol, {"node-name": node_name(index)}) | {"discard": "unmap"}


def _format_node(
    drive: CheckedDrive, index: int, protocol: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    node: dict[str, Any] = {"driver": drive.format, **options, "file": protocol}
    if drive.format in CHAINED and not drive.may_chain:
        node["backing"] = None
    if drive.key is not None:
        node["encrypt"] = {"format": "luks", "key-secret": key_name(index)}
    return node


def _protocol_node(drive: CheckedDrive) -> Mapping[str, Any]:
    if drive.source is not None and drive.source.node is not None:
        return drive.source.node
    driver = "host_device" if drive.is_block_device else "file"
    return {"driver": driver, "filename": str(drive.path), "locking": "off"}


def disk_device(drive: CheckedDrive, index: int) -> dict[str, Any]:
    """Return the disk that the guest sees, which the daemon knows by its serial number."""
    device = {
        "driver": "scsi-hd",
        "bus": "scsi.0",
        "drive": node_name(index),
        "scsi-id": index,
        "serial": drive_serial(index),
        "werror": "report",
        "rerror": "report",
    }
    if drive.blocksize_bytes is not None:
        device |= {"logical_block_size": drive.blocksize_bytes, "physical_block_size": drive.blocksize_bytes}
    return device


def node_name(index: int) -> str:
    """Return what qemu calls a drive's overlay, which is what the guest sees."""
    return f"drive{index}"


def drive_serial(index: int) -> str:
    """Return the serial number of a disk."""
    return f"drive{index}"


def port_id(index: int) -> str:
    """Return what qemu calls a channel's port when the daemon opens it."""
    return f"port{index}"


def _json(node: dict[str, Any]) -> str:
    return json.dumps(node)
