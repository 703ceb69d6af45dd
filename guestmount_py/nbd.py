"""The NBD protocol, as far as a reader needs it: handshake by option GO, simple replies.

Source: NetworkBlockDevice/nbd doc/proto.md; every number is big-endian.
"""

import errno
import struct
from typing import Final, NamedTuple

from rpc.errors import DriveError, RemoteProtocolError

GREETING_BYTES: Final = 18
OPTION_REPLY_BYTES: Final = 20
SIMPLE_REPLY: Final = struct.Struct(">IIQ")
"""magic u32 | error u32 | cookie u64"""
SIMPLE_REPLY_MAGIC: Final = 0x67446698
OPTION_DATA_MAX_BYTES: Final = 64 * 1024

_INIT_MAGIC: Final = b"NBDMAGIC"
_OPTION_MAGIC: Final = b"IHAVEOPT"
_OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
_REQUEST: Final = struct.Struct(">IHHQQI")
_REQUEST_MAGIC: Final = 0x25609513
_CMD_READ: Final = 0
_FLAG_FIXED_NEWSTYLE: Final = 1
_FLAG_NO_ZEROES: Final = 2
_OPT_GO: Final = 7
_REP_ACK: Final = 1
_REP_INFO: Final = 3
_REP_ERROR_BIT: Final = 1 << 31
_INFO_EXPORT: Final = 0


class Export(NamedTuple):
    """What a server says of an export."""

    size_bytes: int
    flags: int


class OptionReply(NamedTuple):
    """The head of one reply to an option."""

    kind: int
    size_bytes: int


def check_greeting(data: bytes) -> None:
    """Insist on a server of the fixed newstyle.

    Layout: "NBDMAGIC" | "IHAVEOPT" | flags u16

    Raises:
        RemoteProtocolError: it is another.
    """
    if data[:16] != _INIT_MAGIC + _OPTION_MAGIC or not data[17] & _FLAG_FIXED_NEWSTYLE:
        raise RemoteProtocolError(f"no NBD server of the fixed newstyle: {data!r}")


def go(name: str) -> bytes:
    """Return a client's flags and the option that begins the transmission of an export.

    Layout: flags u32 | "IHAVEOPT" | option u32 | length u32 | (name length u32 | name | number of wishes u16)
    """
    text = name.encode()
    data = struct.pack(">I", len(text)) + text + struct.pack(">H", 0)
    flags = struct.pack(">I", _FLAG_FIXED_NEWSTYLE | _FLAG_NO_ZEROES)
    return flags + _OPTION_MAGIC + struct.pack(">II", _OPT_GO, len(data)) + data


def option_reply(data: bytes) -> OptionReply:
    """Return the head of a reply to GO.

    Layout: magic u64 | option u32 | kind u32 | length u32

    Raises:
        RemoteProtocolError: it is none, or too long.
    """
    magic, option, kind, size_bytes = struct.unpack(">QIII", data)
    if magic != _OPTION_REPLY_MAGIC or option != _OPT_GO or size_bytes > OPTION_DATA_MAX_BYTES:
        raise RemoteProtocolError(f"no reply of an NBD server: {data!r}")
    return OptionReply(kind, size_bytes)


def export_told(reply: OptionReply, data: bytes, known: Export | None) -> tuple[Export | None, bool]:
    """Return what is known of the export after a reply with its data, and whether transmission begins.

    Raises:
        DriveError: the server refuses.
        RemoteProtocolError: it acknowledges without having told the size.
    """
    if reply.kind & _REP_ERROR_BIT:
        raise DriveError(f"the export is refused: {data.decode('utf-8', 'replace') or hex(reply.kind)}")
    if reply.kind == _REP_INFO and data[:2] == struct.pack(">H", _INFO_EXPORT):
        if len(data) != 12:
            raise RemoteProtocolError(f"{len(data)} bytes about an export instead of 12")
        known = Export(*struct.unpack(">QH", data[2:]))
    if reply.kind == _REP_ACK and known is None:
        raise RemoteProtocolError("the NBD server begins without having told a size")
    return known, reply.kind == _REP_ACK


def read_request(cookie: int, offset: int, count: int) -> bytes:
    """Return the request to read; its reply has the same cookie.

    Layout: magic u32 | flags u16 | type u16 | cookie u64 | offset u64 | length u32
    """
    return _REQUEST.pack(_REQUEST_MAGIC, 0, _CMD_READ, cookie, offset, count)


def failure(number: int) -> DriveError:
    """Return a reply's error, which is one of a few errno values of Linux, if the server is no liar."""
    return DriveError(f"qemu cannot read the image: {errno.errorcode.get(number, f'error {number}')}")
