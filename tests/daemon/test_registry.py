"""The table of handlers."""

from typing import Final

import pytest

from daemon import handlers
from daemon.registry import HANDLERS, handles
from rpc.procedure import Transfer
from rpc.procedures import BY_NAME, PING_DAEMON

READ_ONLY_MOUNTING: Final = """
    available_all_groups blkid blockdev_getsize64 blockdev_getss checksum checksum_device download download_offset
    exists filesize find0 get_umask getxattr getxattrs hello internal_autosync internal_feature_available
    internal_lstatnslist internal_lxattrlist internal_parse_mountable internal_readdir internal_readlinklist is_dir
    is_file is_symlink is_whole_device lgetxattr lgetxattrs list_devices list_directories list_directory
    list_filesystems
    list_partitions ls0 lstatns lvs lvm_canonical_lv_name mount mount_options mount_ro mount_vfs mountpoints mounts
    nr_devices part_get_parttype part_list ping_daemon pread pread_device read_files readdir readlink realpath
    statns statvfs sync umask umount umount_all utsname vfs_label vfs_type vfs_uuid
"""
"""What issue 2 promises."""


def test_every_promised_call_has_a_handler() -> None:
    assert handlers
    assert set(READ_ONLY_MOUNTING.split()) - {handler.procedure.name for handler in HANDLERS.values()} == set()


def test_every_handler_belongs_to_its_row() -> None:
    for number, (procedure, function) in HANDLERS.items():
        assert BY_NAME[procedure.name].number == number
        assert function.__name__ == procedure.name
        assert procedure.transfer is not Transfer.FILE_IN


def test_second_handler_for_a_call_is_an_error() -> None:
    with pytest.raises(ValueError, match="ping_daemon has two handlers"):
        handles(PING_DAEMON)(lambda _session, _args: None)
