"""Systems that are found, and what is asked of them."""

import os
from collections.abc import Iterator

from tests.guests.cache import run
from tests.guests.inspected import inspected_disk
from tests.guests.systems import empty_hive
from tests.interoperability.library import Library, LibraryError
from tests.interoperability.outcomes import without_identifiers
from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked, brief, refusal

ASKED_OF_A_SYSTEM = (
    *("type", "distro", "major_version", "minor_version", "product_name", "product_variant", "hostname", "arch"),
    *("package_format", "package_management", "mountpoints", "filesystems", "format", "drive_mappings"),
)
ASKED_OF_WINDOWS = (
    "windows_systemroot",
    "windows_software_hive",
    "windows_system_hive",
    "windows_current_control_set",
)


@script("a system that is found, and what is asked of it")
def inspection(stage: Stage) -> Iterator[str]:
    with stage.filesystem() as library:
        for directory in ("/etc", "/bin", "/usr", "/boot"):
            library.mkdir_p(directory)
        library.write("/etc/os-release", b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
        library.write("/etc/debian_version", b"12.5\n")
        library.write("/etc/fstab", b"/dev/sda / ext4 defaults 0 1\n")
        library.write("/etc/hostname", b"me\n")
        library.upload(os.fspath(stage.busybox), "/bin/sh")
        library.umount("/")
        yield asked(library, "inspect_os")
        yield asked(library, "inspect_get_roots")
        for name in ASKED_OF_A_SYSTEM:
            yield without_identifiers(asked(library, f"inspect_get_{name}", "/dev/sda"))
        for name in ("inspect_is_live", "inspect_is_netinst", "inspect_is_multipart"):
            yield asked(library, name, "/dev/sda")


@script("a Debian, a Fedora in subvolumes, a Windows and a FreeBSD on one disk, and what is installed there")
def systems(stage: Stage) -> Iterator[str]:
    disk = stage.directory / "inspected.img"
    run("cp", "--sparse=always", inspected_disk(), disk)
    with stage.launched(disk) as library:
        yield asked(library, "inspect_os")
        for root in ("/dev/sda1", "btrfsvol:/dev/sda2/root", "/dev/sda3", "/dev/sda4"):
            for name in (*ASKED_OF_A_SYSTEM, *ASKED_OF_WINDOWS):
                yield asked(library, f"inspect_get_{name}", root)
            library.umount_all()
            yield asked(library, "mount_ro", root, "/")
            yield f"list_applications2 of {root}: {applications(library, root)}"
    disk.unlink()


@script("a hive of Windows' registry: read, changed, written, and asked for what it has not")
def registry(stage: Stage) -> Iterator[str]:
    local = stage.directory / "hive"
    local.write_bytes(empty_hive())
    with stage.filesystem() as library:
        library.upload(os.fspath(local), "/hive")
        yield asked(library, "hivex_root")
        yield asked(library, "hivex_open", "/none")
        yield asked(library, "hivex_open", "/hive", write=True)
        root = library.hivex_root()
        key = library.hivex_node_add_child(root, "Key")
        library.hivex_node_add_child(root, "other")
        for name, kind, data in (("Text", 1, "välue\0".encode("utf-16-le")), ("Number", 4, b"\1\0\0\0")):
            yield asked(library, "hivex_node_set_value", key, name, kind, data)
        yield asked(library, "hivex_node_name", key)
        yield asked(library, "hivex_node_children", root)
        yield asked(library, "hivex_node_parent", key)
        for name in ("KEY", "none", ""):
            yield asked(library, "hivex_node_get_child", root, name)
        for value in [each["hivex_value_h"] for each in library.hivex_node_values(key)]:
            yield asked(library, "hivex_value_key", value)
            yield asked(library, "hivex_value_type", value)
            yield asked(library, "hivex_value_value", value)
            yield asked(library, "hivex_value_string", value)
            yield asked(library, "hivex_value_utf8", value)
        yield asked(library, "hivex_node_get_value", key, "text")
        yield asked(library, "hivex_node_get_value", key, "none")
        for number in (0, 1, -1, root + 4):
            yield asked(library, "hivex_node_children", number)
        yield asked(library, "hivex_node_delete_child", library.hivex_node_get_child(root, "other"))
        yield asked(library, "hivex_node_delete_child", root)
        yield asked(library, "hivex_commit", None)
        yield asked(library, "hivex_commit", "/copy")
        yield asked(library, "hivex_commit", "relative")
        yield asked(library, "hivex_close")
        yield asked(library, "hivex_close")
        for path in ("/hive", "/copy"):
            library.hivex_open(path)
            yield asked(library, "hivex_node_children", library.hivex_root())
            yield asked(library, "hivex_node_add_child", library.hivex_root(), "new")
        library.hivex_close()


def applications(library: Library, root: str) -> str:
    """Return name and version of what is installed, or how the question is refused."""
    try:
        found = library.inspect_list_applications2(root)
    except LibraryError as exc:
        return refusal(exc)
    return brief([(each["app2_name"], each["app2_epoch"], each["app2_version"], each["app2_arch"]) for each in found])
