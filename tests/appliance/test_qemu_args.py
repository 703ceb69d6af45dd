import itertools
import json
from pathlib import Path
from typing import Any

from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.drives import CheckedDrive
from appliance.qemu_args import TemplateFds, kernel_command_line, qemu_arguments

FILES = ApplianceFiles(kernel=Path("/a/kernel"), initrd=Path("/a/initrd"), root=Path("/a/root"))
UUID = "fe0433e5-9bfe-4590-bb9e-0fb68745a259"


def _arguments(
    config: ApplianceConfig, *drives: CheckedDrive, accelerator: str = "tcg", template: TemplateFds | None = None
) -> list[str]:
    return qemu_arguments(
        config,
        FILES,
        accelerator=accelerator,
        root_uuid=UUID,
        channel_fds=[20, 21][: config.channel_count],
        control_fd=31,
        drives=[(drive, 10 + index) for index, drive in enumerate(drives)],
        template=template,
    )


def _drive(path: str, kind: str, *, may_chain: bool = False, blocksize_bytes: int | None = None) -> CheckedDrive:
    return CheckedDrive(Path(path), kind, may_chain, 1 << 30, blocksize_bytes)


def _values(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == option]


def _nodes(arguments: list[str]) -> dict[str, Any]:
    return {node["node-name"]: node for node in map(json.loads, _values(arguments, "-blockdev"))}


def _disks(arguments: list[str]) -> list[dict[str, Any]]:
    return [json.loads(device) for device in _values(arguments, "-device") if device.startswith("{")]


def test_whole_command_line_is_as_written_down() -> None:
    config = ApplianceConfig(drives=(), channel_count=2, append="debug")
    drive = {
        "driver": "qcow2",
        "node-name": "drive0",
        "file": {"driver": "file", "filename": "/dev/fdset/1", "locking": "off"},
        "backing": {
            "driver": "raw",
            "read-only": True,
            "force-share": True,
            "file": {"driver": "file", "filename": "/images/disk, one.img", "locking": "off"},
        },
        "discard": "unmap",
    }
    disk = {
        "driver": "scsi-hd",
        "bus": "scsi.0",
        "drive": "drive0",
        "scsi-id": 0,
        "serial": "drive0",
        "werror": "report",
        "rerror": "report",
    }
    kernel_words = (
        "panic=1 console=ttyS0 edd=off no_timer_check printk.time=1 cgroup_disable=memory usbcore.nousb "
        "cryptomgr.notests tsc=reliable 8250.nr_uarts=1 random.trust_cpu=on scsi_mod.scan=sync mitigations=off "
        f"selinux=0 init_on_alloc=0 root=UUID={UUID} quiet debug"
    )
    assert _arguments(config, _drive("/images/disk, one.img", "raw")) == [
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-machine", "q35,accel=tcg,graphics=off", "-cpu", "max,la57=off,-erms,-fsrm,-avx2,-avx"),
        *("-smp", "1", "-m", "512", "-serial", "stdio"),
        *("-chardev", "socket,id=control,fd=31", "-mon", "chardev=control,mode=control"),
        *("-kernel", "/a/kernel", "-initrd", "/a/initrd", "-append", kernel_words),
        *("-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-pci,rng=rng0"),
        *(
            "-drive",
            "file=/a/root,id=root,if=none,format=raw,snapshot=on,cache=unsafe",
            "-device",
            "virtio-blk-pci,drive=root",
        ),
        *("-device", "virtio-scsi-pci,id=scsi"),
        *("-add-fd", "fd=10,set=1", "-blockdev", json.dumps(drive)),
        *("-device", json.dumps(disk)),
        *("-device", "virtio-serial-pci,max_ports=31"),
        *("-chardev", "socket,id=channel0,fd=20"),
        *("-device", "virtserialport,id=port0,chardev=channel0,name=org.libguestfs.channel.0"),
        *("-chardev", "socket,id=channel1,fd=21"),
        *("-device", "virtserialport,id=port1,chardev=channel1,name=org.guestmount-py.channel.1"),
    ]


def test_drives_keep_their_order_and_have_an_overlay_each() -> None:
    arguments = _arguments(ApplianceConfig(drives=()), _drive("/b", "raw"), _drive("/a", "qcow2"), _drive("/c", "vdi"))
    nodes = _nodes(arguments)
    assert [nodes[f"drive{number}"]["backing"]["file"]["filename"] for number in range(3)] == ["/b", "/a", "/c"]
    assert [nodes[f"drive{number}"]["file"]["filename"] for number in range(3)] == [
        f"/dev/fdset/{number}" for number in (1, 2, 3)
    ]
    assert [(disk["scsi-id"], disk["drive"]) for disk in _disks(arguments)] == [
        (0, "drive0"),
        (1, "drive1"),
        (2, "drive2"),
    ]


def test_base_is_only_read_and_may_be_in_use() -> None:
    base = _nodes(_arguments(ApplianceConfig(drives=()), _drive("/a", "qcow2")))["drive0"]["backing"]
    assert (base["read-only"], base["force-share"]) == (True, True)


def test_guessed_format_opens_no_backing_file_and_a_given_one_may() -> None:
    guessed, given = _drive("/a", "qcow2"), _drive("/b", "qcow2", may_chain=True)
    nodes = _nodes(_arguments(ApplianceConfig(drives=()), guessed, given))
    assert nodes["drive0"]["backing"]["backing"] is None
    assert "backing" not in nodes["drive1"]["backing"]


def test_sector_size_is_passed_on() -> None:
    arguments = _arguments(ApplianceConfig(drives=()), _drive("/a", "raw", blocksize_bytes=4096))
    [disk] = _disks(arguments)
    assert (disk["logical_block_size"], disk["physical_block_size"]) == (4096, 4096)


def test_machine_follows_the_configuration() -> None:
    config = ApplianceConfig(drives=(), memory_mib=1024, smp=2, channel_count=1)
    arguments = _arguments(config, accelerator="kvm")
    assert _values(arguments, "-m") == ["1024"]
    assert _values(arguments, "-smp") == ["2"]
    assert _values(arguments, "-machine") == ["q35,accel=kvm,graphics=off"]
    assert len(_values(arguments, "-chardev")) == 2  # one is the control channel


def test_verbose_appliance_is_not_quiet() -> None:
    words = kernel_command_line(ApplianceConfig(drives=(), verbose=True)).split()
    assert "guestfs_verbose=1" in words
    assert "quiet" not in words


def test_only_a_machine_that_is_to_be_saved_is_told_so() -> None:
    config, word = ApplianceConfig(drives=()), "guestmount_py_save=1"
    [said] = _values(_arguments(config, template=TemplateFds(memory=30)), "-append")
    assert word in said.split()
    assert not any(word in argument for argument in _arguments(config))


def test_template_is_made_with_its_file_as_shared_memory() -> None:
    arguments = _arguments(ApplianceConfig(drives=()), template=TemplateFds(memory=30))
    assert "memory-backend-file,id=ram,size=512M,mem-path=/proc/self/fd/30,share=on" in _values(arguments, "-object")
    assert "memory-backend=ram" in _values(arguments, "-machine")
    assert "socket,id=control,fd=31" in _values(arguments, "-chardev")
    assert _values(arguments, "-kernel") == ["/a/kernel"]
    assert "-incoming" not in arguments


def test_restored_machine_is_the_same_but_maps_privately_and_waits() -> None:
    config, drive = ApplianceConfig(drives=()), _drive("/b", "raw")
    made = _arguments(config, template=TemplateFds(memory=30))
    restored = _arguments(config, drive, template=TemplateFds(memory=30, state=32))
    assert any("mem-path=/proc/self/fd/30,share=off" in each for each in _values(restored, "-object"))
    assert restored[restored.index("-incoming") - 1 :][:3] == ["-S", "-incoming", "defer"]
    assert _values(restored, "-device") == _values(made, "-device")
    assert _values(restored, "-add-fd") == ["fd=10,set=1"]
    assert not {"-kernel", "-initrd", "-append"} & set(restored)
