"""The packages that RPM installed in a guest, whichever of its three databases holds their headers.

librpm would be five packages more, and chooses its database by configuration, not by what is there. Formats: headers
as in rpm's docs/manual/format_header.md, of numbers in network order; ndb as in its lib/backend/ndb/rpmpkg.c; Berkeley
DB's hash as in its dbinc/db_page.h, of numbers as the machine has them that wrote it: little-endian here.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from struct import Struct, error, unpack_from
from typing import Final, NamedTuple

from daemon.guest_view import GuestView
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.codec import Int32
from rpc.procedures.inspection import Application2

_DIRECTORIES: Final = (b"/usr/lib/sysimage/rpm/", b"/var/lib/rpm/")
_HEADER_MAX_BYTES: Final = 256 << 20
_TAGS_MAX: Final = 0xFFFF
"""As rpm itself limits both (lib/header.c)."""
_ENTRY: Final = Struct(">iIiI")
"""Tag, type, place and count of what a header holds."""
_TEXTS: Final = (6, 9)
"""RPM_STRING_TYPE, and RPM_I18NSTRING_TYPE, whose first is in English."""
_INT32: Final = 4
_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY, _DESCRIPTION, _URL, _ARCH = 1000, 1001, 1002, 1003, 1004, 1005, 1020, 1022
_NDB_MAGIC: Final = b"RpmP"
_NDB_SLOT: Final = Struct("<4sIII")
"""Mark, number, place and length, both in blocks of 16 bytes; the first two slots are the file's own."""
_NDB_PAGE_BYTES: Final = 4096
_NDB_BLOCK_BYTES: Final = 16
_BDB_MAGIC: Final = b"\x61\x15\x06\0"
_BDB_PAGE: Final = Struct("<8xIIIHHBB")
"""Number, of the one before, the next one; entries, place of the data; level, type."""
_BDB_HASH: Final = (2, 13)
_BDB_OVERFLOW: Final = 7
_BDB_ELSEWHERE: Final = Struct("<B3xII")
"""What an entry holds that is too long for its page: a mark, 3, then the first overflow page and its length."""
_BDB_PAGE_SIZES: Final = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


class _Damaged(Exception):
    """A database that makes no sense; the text says where."""


def packages(view: GuestView) -> Iterator[bytes]:
    """Yield the headers of the packages that are installed; none if there is no database."""
    for directory in _DIRECTORIES:
        for name, headers in ((b"rpmdb.sqlite", _sqlite), (b"Packages.db", _ndb), (b"Packages", _bdb)):
            with view.opened(directory + name) as descriptor:
                if descriptor is not None:
                    yield from _within(os.fstat(descriptor).st_size, headers(descriptor))
                    return


def _within(size_bytes: int, headers: Iterator[bytes]) -> Iterator[bytes]:
    """Pass headers on; those that are longer than their database, all together, would have no end."""
    for header in headers:
        size_bytes -= 1 + len(header)
        if size_bytes < 0:
            raise _Damaged("more headers than the database has room for")
        yield header


def _sqlite(descriptor: int) -> Iterator[bytes]:
    """Read SQLite's database; what a system that was not shut down left in a log of it is not seen."""
    import sqlite3

    try:
        name = f"file:/proc/self/fd/{descriptor}?immutable=1"
        with closing(sqlite3.connect(name, uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name='Packages' AND type='table'").fetchall():
                raise _Damaged("no table of packages")  # but a view, perhaps, of rows without end
            for (blob,) in database.execute("SELECT blob FROM Packages"):
                yield blob if isinstance(blob, bytes) else b""
    except sqlite3.Error as exc:
        raise _Damaged(str(exc)) from exc


def _ndb(descriptor: int) -> Iterator[bytes]:
    head = os.pread(descriptor, 32, 0)
    if head[:4] != _NDB_MAGIC:
        raise _Damaged("no database of rpm's")
    (pages,) = unpack_from("<I", head, 12)
    slots = os.pread(descriptor, min(pages * _NDB_PAGE_BYTES, _HEADER_MAX_BYTES), 0)
    usable = len(slots) // _NDB_SLOT.size * _NDB_SLOT.size
    for mark, number, place, _ in list(_NDB_SLOT.iter_unpack(slots[:usable]))[2:]:
        if mark == b"Slot" and number:
            offset = place * _NDB_BLOCK_BYTES
            mark, found, _, size_bytes = _NDB_SLOT.unpack(_read(descriptor, offset, _NDB_SLOT.size))
            if mark != b"BlbS" or found != number:
                raise _Damaged(f"no package at {offset}")
            yield _read(descriptor, offset + _NDB_SLOT.size, size_bytes)


def _bdb(descriptor: int) -> Iterator[bytes]:
    head = _read(descriptor, 0, 36)
    (page_bytes,) = unpack_from("<I", head, 20)
    if head[12:16] != _BDB_MAGIC or page_bytes not in _BDB_PAGE_SIZES:
        raise _Damaged("no hash of Berkeley DB's")
    for start in range(page_bytes, os.fstat(descriptor).st_size - page_bytes + 1, page_bytes):
        page = _read(descriptor, start, page_bytes)
        _, _, _, entries, _, _, kind = _BDB_PAGE.unpack_from(page)
        if kind not in _BDB_HASH:
            continue
        for place in unpack_from(f"<{entries}H", page, _BDB_PAGE.size)[1::2]:  # keys and values take turns
            if page[place : place + 1] == b"\x03":
                _, first, size_bytes = _BDB_ELSEWHERE.unpack_from(page, place)
                yield _bdb_overflow(descriptor, page_bytes, first, size_bytes)


def _bdb_overflow(descriptor: int, page_bytes: int, number: int, size_bytes: int) -> bytes:
    if size_bytes > _HEADER_MAX_BYTES:
        raise _Damaged(f"a header of {size_bytes} bytes")
    parts = []
    left = size_bytes
    while left > 0:
        page = _read(descriptor, number * page_bytes, page_bytes)
        _, _, number, _, _, _, kind = _BDB_PAGE.unpack_from(page)
        if kind != _BDB_OVERFLOW:
            raise _Damaged("a header whose pages make no sense")
        parts.append(page[_BDB_PAGE.size :][:left])
        left -= len(parts[-1])
    return b"".join(parts)


def _read(descriptor: int, offset: int, size_bytes: int) -> bytes:
    if size_bytes > _HEADER_MAX_BYTES:
        raise _Damaged(f"a header of {size_bytes} bytes")
    data = os.pread(descriptor, size_bytes, offset)
    if len(data) != size_bytes:
        raise _Damaged("a database cut short")
    return data


class _Header(NamedTuple):
    """A package's header: where what it holds lies, by tag, and that."""

    places: dict[int, tuple[int, int]]
    store: bytes

    @classmethod
    def parse(cls, data: bytes) -> "_Header":
        tags, size_bytes = unpack_from(">II", data)
        start = 8 + tags * _ENTRY.size
        if tags > _TAGS_MAX or len(data) < start + size_bytes:
            raise _Damaged("a header cut short")
        rows = _ENTRY.iter_unpack(data[8:start])
        return cls({tag: (kind, place) for tag, kind, place, _ in rows}, data[start : start + size_bytes])

    def text(self, tag: int) -> str:
        """Return a text, empty if there is none."""
        kind, place = self.places.get(tag, (0, 0))
        if kind not in _TEXTS or not 0 <= place < len(self.store):
            return ""
        return self.store[place : self.store.find(b"\0", place)].decode("utf-8", "surrogateescape")

    def number(self, tag: int) -> int:
        """Return a number, 0 if there is none."""
        kind, place = self.places.get(tag, (0, 0))
        if kind != _INT32 or not 0 <= place <= len(self.store) - 4:
            return 0
        return int.from_bytes(self.store[place : place + 4], "big", signed=True)


def _application(header: _Header) -> Application2:
    nothing = Application2(*("",) * 2, Int32(0), *("",) * 14)
    return nothing._replace(
        app2_name=header.text(_NAME),
        app2_epoch=Int32(header.number(_EPOCH)),
        app2_version=header.text(_VERSION),
        app2_release=header.text(_RELEASE),
        app2_arch=header.text(_ARCH),
        app2_url=header.text(_URL),
        app2_summary=header.text(_SUMMARY),
        app2_description=header.text(_DESCRIPTION),
    )


@handles(procedures.INTERNAL_LIST_RPM_APPLICATIONS)
def internal_list_rpm_applications(session: Session, _args: NoArgs) -> list[Application2]:
    """Return the packages that RPM installed, sorted by name, epoch, version and release."""
    session.must_be_mounted()
    try:
        found = [_application(_Header.parse(data)) for data in packages(GuestView(session))]
    except (_Damaged, error, OSError) as exc:
        raise CallError(f"the database of rpm cannot be read: {exc}") from exc
    return sorted(found)
