"""Numbers of the libguestfs wire protocol (guestfs-protocol section 1) and of our extensions to it."""

from typing import Final

PROGRAM: Final = 0x2000F5F5
VERSION: Final = 4
LAUNCH: Final = 0xF5F55FF5
"""Flag word: the daemon is ready; sent once, at the start."""
CANCEL: Final = 0xFFFFEEEE
"""Flag word: stop the file transfer under way."""
PROGRESS: Final = 0xFFFF5555
"""Flag word: a progress body of ``PROGRESS_BYTES`` follows."""

WORD_BYTES: Final = 4
HEADER_BYTES: Final = 40
PROGRESS_BYTES: Final = 24
MESSAGE_MAX_BYTES: Final = 4 << 20
"""Largest value of a length word; the header counts, the length word itself does not."""
CHUNK_MAX_BYTES: Final = 8192
"""Most data bytes in a file chunk, unless ``hello`` agreed on more."""
EXTENDED_CHUNK_MAX_BYTES: Final = 1 << 20
"""Most data bytes in a file chunk that ``hello`` may agree on."""
ERRNO_NAME_MAX_BYTES: Final = 32
ERROR_MESSAGE_MAX_BYTES: Final = 65536
PREAD_COUNT_LIMIT: Final = MESSAGE_MAX_BYTES
"""``pread`` counts from here on are refused at once (section 3.6)."""
PREAD_MAX_BYTES: Final = MESSAGE_MAX_BYTES - HEADER_BYTES - WORD_BYTES
"""Longest result that ``pread`` can carry."""

DIRECTION_CALL: Final = 0
DIRECTION_REPLY: Final = 1
STATUS_OK: Final = 0
STATUS_ERROR: Final = 1
FIRST_SERIAL: Final = 0x00123400
FIRST_EXTENSION: Final = 10000
"""Extension procedures are numbered from here, far above libguestfs's (522 in 1.61)."""
EXTENSION_VERSION: Final = 1

CHANNEL_NAME: Final = "org.libguestfs.channel.0"
EXTRA_CHANNEL_PREFIX: Final = "org.guestmount-py.channel."

VERBOSE_WORD: Final = "guestfs_verbose=1"
"""Word of the appliance's kernel line, libguestfs's: the daemon writes every call to the console."""
SAVE_WORD: Final = "guestmount_py_save=1"
"""The same, of ours: the machine is made a template of, so the daemon prepares for that before it opens a port."""
MAILBOX_SLOT_BYTES: Final = 14 << 20
"""Most that one call finds on the disk by which a host that writes hands long data over."""
MAILBOX_SERIAL: Final = f"mailbox{MAILBOX_SLOT_BYTES >> 20}"
"""Its serial number: a daemon that expects slots of another size does not find it."""
STATX_BYTES: Final = 256
"""struct statx (linux/stat.h)."""
