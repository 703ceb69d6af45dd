"""Memory that long data are read to."""

from ctypes import addressof, c_char

from daemon.mailbox import _huge_pages
from rpc.constants import MAILBOX_SLOT_BYTES

HUGE_BYTES = 2 << 20


def test_memory_begins_with_a_huge_page_and_is_as_long_as_asked() -> None:
    for size_bytes in (1, HUGE_BYTES, MAILBOX_SLOT_BYTES):
        memory = _huge_pages(size_bytes)
        assert len(memory) == size_bytes
        assert addressof(c_char.from_buffer(memory)) % HUGE_BYTES == 0
        memory[-1] = 7
        assert memory[-1] == 7
