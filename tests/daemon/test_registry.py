"""The table of handlers."""

import subprocess
import sys
from typing import Final

import pytest

from daemon.registry import HANDLERS, handles
from rpc.procedures import BY_NAME, PING_DAEMON
from tools.procedures import import_handlers

import_handlers()

READ_ONLY_MOUNTING: Final = """
    available_all_groups blkid blockdev_getsize64 blockdev_getss checksum checksum_device download download_offset
    exists filesize find0 get_umask getxattr getxattrs hello internal_autosync internal_feature_available
    internal_lstatnslist internal_lxattrlist internal_parse_mountable internal_readdir internal_readlinklist is_dir
    is_file is_symlink is_whole_device lgetxattr lgetxattrs list_devices list_directory
    list_filesystems
    list_partitions ls0 lstatns lvs lvm_canonical_lv_name mount mount_options mount_ro mount_vfs mountpoints mounts
    nr_devices part_get_parttype part_list ping_daemon pread pread_device read_files readdir readlink realpath
    statns statvfs sync umask umount umount_all utsname vfs_label vfs_type vfs_uuid
"""
"""What issue 2 promises."""
AT_ONCE: Final = """
    hello mount_options mount_vfs umount_all internal_autosync list_directory walk read_files lstatns
    readlink lgetxattrs statvfs pread download_offset
"""
"""What guestmount-py calls for a read-only mount (guestmount_py/guest_files.py)."""


def test_every_promised_call_has_a_handler() -> None:
    assert set(READ_ONLY_MOUNTING.split()) - {handler.procedure.name for handler in HANDLERS.values()} == set()


def test_every_handler_belongs_to_its_row() -> None:
    for number, (procedure, function) in HANDLERS.items():
        assert BY_NAME[procedure.name].number == number
        assert function.__name__ == procedure.name.lower()


def test_read_only_mount_finds_its_handlers_imported_and_nothing_else() -> None:
    ask = "import sys, daemon.__main__, daemon.registry as r; print(*r.HANDLERS); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    numbers, modules = (line.split() for line in answer.splitlines())
    assert {str(BY_NAME[name].number) for name in AT_ONCE.split()} <= set(numbers)
    groups = {name.removeprefix("rpc.procedures.") for name in modules if name.startswith("rpc.procedures.")}
    assert groups == {"attributes", "contents", "directories", "extensions", "mounting", "transfers", "xattrs"}


def test_handler_is_imported_when_its_call_arrives() -> None:
    ask = "from daemon.handlers import handler_of; print(handler_of(137).procedure.name, handler_of(99999))"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert answer == "umask None\n"


def test_second_handler_for_a_call_is_an_error() -> None:
    with pytest.raises(ValueError, match="ping_daemon has two handlers"):
        handles(PING_DAEMON)(lambda _session, _args: None)
