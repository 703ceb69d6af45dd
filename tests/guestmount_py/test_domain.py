"""Domains of libvirt's test driver, which needs no daemon."""

import shutil
from pathlib import Path

import pytest

from appliance.config import Drive, RemoteDisk
from guestmount_py import domain as domains
from guestmount_py.cli import parse
from guestmount_py.domain import find_domain
from rpc.errors import GuestmountError, UsageError

pytestmark = pytest.mark.skipif(shutil.which("virsh") is None, reason="not installed: virsh")

_DISKS = """
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2'/><source file='/images/a b&amp;c.qcow2'/><target dev='vda'/>
</disk>
<disk type='file' device='cdrom'>
  <driver name='qemu' type='raw'/><source file='/images/cd.iso'/><target dev='hdc' bus='ide'/><readonly/>
</disk>
<disk type='file' device='cdrom'><target dev='hdd' bus='ide'/><readonly/></disk>
<disk type='block' device='disk'>
  <source dev='/dev/vg/lv'/><blockio logical_block_size='4096'/><target dev='vdb'/>
</disk>
<disk type='network' device='disk'>
  <driver name='qemu' type='raw'/>
  <source protocol='nbd' name='an export'><host name='::1' port='7'/></source><target dev='vdc'/>
</disk>
<disk type='network' device='disk'>
  <source protocol='nbd'><host transport='unix' socket='/run/s'/></source><target dev='vdd'/>
</disk>
"""


@pytest.fixture
def libvirt(tmp_path: Path) -> str:
    """Return the URI of a connection with two domains, of which ``up`` runs."""
    shapes = [
        f"<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>{name}</name>"
        f"<memory>1024</memory><os><type>hvm</type></os><devices>{disks}</devices>"
        f"<test:runstate>{state}</test:runstate></domain>"
        for name, state, disks in (("up", 1, _DISKS), ("down", 5, _DISKS), ("bare", 5, ""))
    ]
    (tmp_path / "node.xml").write_text(f"<node>{''.join(shapes)}</node>")
    return f"test://{tmp_path / 'node.xml'}"


def test_disks_come_in_order(libvirt: str) -> None:
    found = find_domain("down", libvirt)
    assert found.state == "shut off"
    first, second, *others, last = found.disks  # libvirt puts those of other buses behind
    assert first == Drive(path=Path("/images/a b&c.qcow2"), format="qcow2")
    assert second == Drive(path=Path("/dev/vg/lv"), blocksize_bytes=4096)
    assert last == Drive(path=Path("/images/cd.iso"), format="raw", only_read=True)
    servers = [drive.path for drive in others]
    assert [each.node["server"] for each in servers if isinstance(each, RemoteDisk)] == [
        {"type": "inet", "host": "::1", "port": "7"},
        {"type": "unix", "path": "/run/s"},
    ]
    assert [each.node["export"] for each in servers if isinstance(each, RemoteDisk)] == ["an export", ""]


def test_options_mix_domains_and_images(libvirt: str) -> None:
    config = parse(["-a", "x", "-c", libvirt, "-d", "down", "-a", "y", "-m", "/dev/sda", "mnt"])
    assert [str(drive.path) for drive in config.drives][:2] == ["x", "/images/a b&c.qcow2"]
    assert str(config.drives[-1].path) == "y"


def test_running_domain_is_not_written_to(libvirt: str) -> None:
    words = ["-c", libvirt, "-d", "up", "-m", "/dev/sda", "mnt"]
    assert len(parse(words).drives) == 5
    with pytest.raises(GuestmountError, match="up: the domain is running: shut it down first"):
        parse([*words, "--rw"])
    assert parse(["-c", libvirt, "-d", "down", "-m", "/dev/sda", "mnt", "--rw"]).writable


@pytest.mark.parametrize("name", ["absent", "-x", "--all", "a b"])
def test_absent_domain_is_one_line(libvirt: str, name: str) -> None:
    with pytest.raises(GuestmountError, match=f"-d {name}: ") as caught:
        find_domain(name, libvirt)
    assert "\n" not in str(caught.value)


def test_domain_without_disks_is_refused(libvirt: str) -> None:
    with pytest.raises(UsageError, match="no disks"):
        find_domain("bare", libvirt)


def test_libvirt_that_is_not_there_is_one_line() -> None:
    with pytest.raises(GuestmountError) as caught:
        find_domain("x", "qemu+unix:///system?socket=/nonexistent")
    assert "\n" not in str(caught.value)


def test_virsh_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuestmountError, match="install the package libvirt-clients"):
        find_domain("x", None)


@pytest.mark.parametrize("text", ["<!DOCTYPE d [<!ENTITY e 'x'>]><domain>&e;</domain>", "<domain>", ""])
def test_xml_that_defines_things_or_ends_early_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    program = tmp_path / "virsh"
    (tmp_path / "answer").write_text(text)
    program.write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path / 'answer'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuestmountError, match="-d x: virsh"):
        find_domain("x", None)


def test_libvirt_that_hangs_has_a_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "virsh"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(domains, "_ANSWER_S", 0.2)
    with pytest.raises(GuestmountError, match="does not answer"):
        find_domain("x", None)
