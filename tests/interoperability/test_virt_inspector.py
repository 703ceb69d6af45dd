"""Programs of libguestfs that inspect, with our appliance: virt-inspector, guestfish -i and guestmount -i."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.guests.inspected import inspected_disk, installer_medium
from tests.guests.rpm import COUNT
from tests.guests.systems import subvolumes_disk
from tests.interoperability.stage import Stage

pytestmark = [pytest.mark.appliance, pytest.mark.root]


def inspected(stage: Stage, image: Path) -> list[dict[str, str | None]]:
    """Return the texts of each system's elements; the applications' names in one."""
    done = stage.program("virt-inspector", "--format=raw", "-a", image)
    assert (done.returncode, done.stderr) == (0, "")
    found = []
    for system in ElementTree.fromstring(done.stdout):
        told = {each.tag: each.text for each in system if not len(each)}
        names = [name.text or "" for name in system.iterfind("applications/application/name")]
        found.append({**told, "applications": " ".join(names)})
    return found


def test_virt_inspector_tells_of_every_system_and_its_applications(our_stage: Stage) -> None:
    debian, fedora, windows, freebsd = inspected(our_stage, inspected_disk())
    assert (debian["product_name"], debian["applications"]) == ("Debian GNU/Linux 12 (bookworm)", "adduser libc6")
    assert (fedora["root"], fedora["package_management"]) == ("btrfsvol:/dev/sda2/root", "dnf")
    assert len((fedora["applications"] or "").split()) == COUNT - 1
    assert (windows["hostname"], windows["applications"]) == ("DESKTOP-7", "an-editor")
    assert (freebsd["major_version"], freebsd["hostname"]) == ("13", "beastie")


def test_virt_inspector_tells_what_a_medium_installs(our_stage: Stage) -> None:
    (medium,) = inspected(our_stage, installer_medium())
    assert (medium["distro"], medium["major_version"], medium["arch"]) == ("debian", "12", "x86_64")


def test_guestfish_mounts_what_inspection_found(our_stage: Stage) -> None:
    script = "mountpoints\ncat /home/me/file\ninspect-get-icon btrfsvol:/dev/sda1/root | wc -c\n"
    done = our_stage.program("guestfish", "--ro", "--format=raw", "-a", subvolumes_disk(), "-i", stdin=script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "/dev/sda1: /\n/dev/sda1: /home\nat home\n0\n"


def test_guestmount_mounts_what_inspection_found(our_stage: Stage) -> None:
    mountpoint = our_stage.directory / "inspected"
    mountpoint.mkdir()
    done = our_stage.program("guestmount", "--ro", "--format=raw", "-a", subvolumes_disk(), "-i", mountpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    try:
        assert (mountpoint / "home/me/file").read_text() == "at home"
        assert (mountpoint / "etc/fstab").is_file()
    finally:
        ended = our_stage.program("guestunmount", mountpoint)
    assert (ended.returncode, ended.stderr) == (0, "")
