"""RPM's databases with some packages, in each of its three formats.

rpm itself writes SQLite's, Berkeley DB its own; ndb, which Debian's rpm has not, is written here.
"""

import struct
from pathlib import Path
from typing import Final

from daemon.guest_view import GuestView
from daemon.rpm_database import packages
from daemon.session import Session
from daemon.sysroot import Sysroot
from tests.guests.cache import cached, run

COUNT: Final = 120
SPEC: Final = """\
Name: test-{number}
Version: 1.{number}
Release: 2%{{?dist}}
Epoch: {epoch}
Summary: Package number {number}
License: none
URL: http://example.org/{number}
BuildArch: noarch
%description
What number {number} is for: ä
%files
"""
RPM_FILES: Final = {"sqlite": "rpmdb.sqlite", "ndb": "Packages.db", "bdb": "Packages"}


def rpm_databases() -> Path:
    """Return a directory with a tree for each kind of database, all with the same packages."""

    def build(directory: Path) -> None:
        built = directory / "built"
        for number in range(COUNT):
            spec = directory / f"{number}.spec"
            spec.write_text(SPEC.format(number=number, epoch=number % 3))
        specs = sorted(directory.glob("*.spec"))
        run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {built}", *specs)
        made = sorted(built.glob("RPMS/noarch/*.rpm"))
        options = ("--dbpath", directory / "sqlite/var/lib/rpm", "--justdb", "--nodeps")
        run("rpm", *options, "-i", *made)
        run("rpm", *options, "-e", "test-7")
        headers = list(packages(GuestView(Session(Sysroot(bytes(directory / "sqlite"), is_plain_directory=True)))))
        _make_bdb(directory / "bdb/usr/lib/sysimage/rpm", headers)
        _make_ndb(directory / "ndb/var/lib/rpm", headers)
        for path in (*specs, built):
            run("rm", "-r", path)

    return cached("rpm", Path(__file__).read_text(), build)


def _make_bdb(place: Path, headers: list[bytes]) -> None:
    """Have Berkeley DB write headers by number, as rpm does; the first entry is rpm's own."""
    place.mkdir(parents=True)
    rows = [(0, COUNT.to_bytes(4, "little")), *enumerate(headers, start=1)]
    lines = ["VERSION=3", "format=bytevalue", "type=hash", "db_pagesize=4096", "HEADER=END"]
    lines += [f" {data.hex()}" for key, value in rows for data in (key.to_bytes(4, "little"), value)]
    run("db_load", place / "Packages", stdin="\n".join([*lines, "DATA=END", ""]))


def _make_ndb(place: Path, headers: list[bytes]) -> None:
    """Write headers as lib/backend/ndb/rpmpkg.c of rpm says; a slot here and there is free."""
    place.mkdir(parents=True)
    slots, blobs = [struct.pack("<4s7I", b"RpmP", 0, 1, 2, COUNT + 1, 0, 0, 0)], b""
    for number, header in enumerate(headers, start=1):
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        blob += bytes(-(len(blob) + 12) % 16) + struct.pack("<II4s", 0, len(header), b"BlbE")
        slots.append(struct.pack("<4sIII", b"Slot", number, (8192 + len(blobs)) // 16, len(blob) // 16))
        blobs += blob
        if number % 7 == 0:
            slots.append(struct.pack("<4sIII", b"Slot", 0, 0, 0))
    table = b"".join(slots)
    table += struct.pack("<4sIII", b"Slot", 0, 0, 0) * ((8192 - len(table)) // 16)
    (place / "Packages.db").write_bytes(table + blobs)
