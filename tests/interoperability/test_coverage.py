"""Every call that we answer is made through libguestfs's library by a script, the mixture or a test, or named here."""

import ast
from pathlib import Path
from typing import Final

from tests.interoperability.test_without_machine import ANSWERS, CHANGES, IMPLEMENTED, LATER, SUCCEED, WITHIN

HERE: Final = Path(__file__).parent
_DAEMON_ONLY: Final = """
    base64_in blkdiscard blkdiscardzeroes blkid blockdev_flushbufs blockdev_rereadpt blockdev_setbsz
    blockdev_setra blockdev_setro blockdev_setrw btrfs_balance_cancel btrfs_balance_pause btrfs_balance_resume
    btrfs_balance_status btrfs_device_add btrfs_device_delete btrfs_filesystem_balance
    btrfs_filesystem_defragment btrfs_filesystem_resize btrfs_filesystem_show btrfs_filesystem_sync btrfs_fsck
    btrfs_image btrfs_qgroup_assign btrfs_qgroup_create btrfs_qgroup_destroy btrfs_qgroup_limit
    btrfs_qgroup_remove btrfs_qgroup_show btrfs_quota_enable btrfs_quota_rescan btrfs_replace
    btrfs_rescue_chunk_recover btrfs_rescue_super_recover btrfs_scrub_cancel btrfs_scrub_resume
    btrfs_scrub_start btrfs_scrub_status btrfs_set_seeding btrfstune_enable_extended_inode_refs
    btrfstune_enable_skinny_metadata_extent_refs btrfstune_seeding compress_device_out compress_out debug
    e2fsck_f get_e2label get_e2uuid luks_format_cipher lvm_clear_filter lvm_remove_all lvm_set_filter mke2fs
    mkfs_b mkfs_btrfs mkswap mktemp modprobe mount_loop mount_options ntfs_3g_probe ntfsclone_in ntfsclone_out
    ntfsfix ntfsresize ntfsresize_size part_set_disk_guid_random pvchange_uuid pvchange_uuid_all pvresize
    pvresize_size resize2fs resize2fs_M resize2fs_size set_e2label set_e2uuid set_uuid_random tgz_in tune2fs
    tune2fs_l txz_in vgchange_uuid vgchange_uuid_all vgmeta vgrename xfs_admin xfs_growfs xfs_info
"""
DAEMON_ONLY: Final = frozenset(_DAEMON_ONLY.split())
"""Calls that only the tests of the daemon, tests/daemon, have succeed: here libguestfs's library was refused at most.

They need devices, which the guest of test_without_machine.py has not; most are upkeep of one kind of filesystem, or
older forms of calls that are made.
"""


def _written(module: Path) -> set[str]:
    """Return the names of attributes, and the strings that may be names of calls."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | strings


def test_every_call_is_made_or_named_as_one_that_is_not() -> None:
    written = set().union(*(_written(path) for path in (*(HERE / "scripts").glob("*.py"), HERE / "mixture.py")))
    written |= {f"inspect_get_{name}" for name in written}
    made = (
        written | {asked.name for asked in ANSWERS} | {done.name for done in CHANGES} | SUCCEED | WITHIN.keys() | LATER
    )
    assert sorted(set(IMPLEMENTED) - made) == sorted(DAEMON_ONLY)
