"""Our client with libguestfs's daemon: many entries and a long file, which take many minutes (``make test-long``)."""

from tests.interoperability.test_our_client import appliance_directory, pytestmark
from tests.system.conftest import module_sandbox
from tests.system.test_extremes import (
    extreme,
    test_5_gib_sparse_file_reads_right_at_both_ends,
    test_5_gib_sparse_file_uses_the_blocks_it_uses_in_the_guest,
    test_directory_of_200_000_entries_has_the_kernels_inode_numbers,
    test_directory_of_200_000_entries_lists_each_once,
)

__all__ = [
    "appliance_directory",
    "extreme",
    "module_sandbox",
    "pytestmark",
    "test_5_gib_sparse_file_reads_right_at_both_ends",
    "test_5_gib_sparse_file_uses_the_blocks_it_uses_in_the_guest",
    "test_directory_of_200_000_entries_has_the_kernels_inode_numbers",
    "test_directory_of_200_000_entries_lists_each_once",
]
