"""Disks of a libvirt domain, as virsh tells them.

The program, not libvirt's Python module: that is compiled against the host's libvirt, and would be the only dependency
which talks to a server, while two calls are all that is needed.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

from appliance.config import Drive
from guestmount_py.config import BLOCKSIZES
from guestmount_py.uri import parse_image
from rpc.errors import GuestmountError, UsageError

_ANSWER_S: Final = 60.0
_XML_MAX_CHARS: Final = 16 << 20
_AT_REST: Final = ("shut off", "crashed")


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain.

    Attributes:
        name: as the user has it.
        state: in virsh's words, such as ``shut off``.
        disks: in the order of its XML.
    """

    name: str
    state: str
    disks: tuple[Drive, ...]

    def check(self, *, writable: bool) -> None:
        """Insist that its disks may be used so.

        Raises:
            GuestmountError: they are to be written to while it runs.
        """
        if writable and self.state not in _AT_REST:
            raise GuestmountError(f"-d {self.name}: the domain is {self.state}: shut it down first, or use --ro")


def find_domain(name: str, uri: str | None, blocksize_bytes: int | None = None) -> Domain:
    """Return a domain of libvirt's.

    Args:
        name: name, number or UUID of the domain.
        uri: of the connection, libvirt's default if None.
        blocksize_bytes: sector size of its disks where its XML does not say it.

    Raises:
        GuestmountError: libvirt does not know it, or is not there.
        UsageError: it has no disk, or one that cannot be used.
    """
    root = _parsed(name, _virsh(uri, name, "dumpxml", name))
    disks = root.iterfind("./devices/disk")  # CDs and floppies too: libguestfs counts them, so names are the same
    drives = [drive for disk in disks if (drive := _drive(name, uri, disk, blocksize_bytes)) is not None]
    if not drives:
        raise UsageError(f"-d {name}: the domain has no disks")
    return Domain(name, _virsh(uri, name, "domstate", name).strip(), tuple(drives))


def _parsed(name: str, text: str) -> ElementTree.Element:
    """Return a domain's XML, in which nothing is expanded: a document type, which could define entities, is refused."""
    if len(text) > _XML_MAX_CHARS or "<!" in text.replace("<!--", ""):
        raise GuestmountError(f"-d {name}: virsh tells more of it than a domain's XML may have")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as exc:
        raise GuestmountError(f"-d {name}: virsh's XML cannot be read: {exc}") from exc


def _drive(name: str, uri: str | None, disk: ElementTree.Element, blocksize_bytes: int | None) -> Drive | None:
    """Return a disk, None if it has no medium."""
    source, driver, sectors = disk.find("source"), disk.find("driver"), disk.find("blockio")
    if source is None:
        return None
    kind = disk.get("type", "file")
    if kind == "file":
        place = source.get("file")
    elif kind == "block":
        place = source.get("dev")
    elif kind == "volume":
        pool, volume = source.get("pool", ""), source.get("volume", "")
        place = _virsh(uri, name, "vol-path", "--pool", pool, "--vol", volume).strip()
    elif kind == "network":
        place = _network_uri(name, source)
    else:
        raise UsageError(f"-d {name}: a disk of the type {kind} cannot be attached: give the others with -a")
    if not place:
        return None
    size = "" if sectors is None else sectors.get("logical_block_size", "")
    return Drive(
        path=parse_image(place) if kind == "network" else Path(place),
        format=None if driver is None else driver.get("type"),
        blocksize_bytes=int(size) if size in map(str, BLOCKSIZES) else blocksize_bytes,
        only_read=disk.find("readonly") is not None,
    )


def _network_uri(name: str, source: ElementTree.Element) -> str:
    """Return the URI of a network disk (libvirt: formatdomain, "disk source": protocol, name, host, auth)."""
    protocol, path = source.get("protocol", ""), quote(source.get("name", ""))
    host, auth = source.find("host"), source.find("auth")
    if host is not None and host.get("transport") == "unix":
        return f"{protocol}+unix:///{path}?socket={quote(host.get('socket', ''))}"
    if auth is not None and protocol != "rbd":
        raise UsageError(f"-d {name}: libvirt keeps the password of a {protocol} disk: give it with -a and its URI")
    user = f"{quote(auth.get('username', ''))}@" if auth is not None else ""
    server = "" if host is None else host.get("name", "")
    server = f"[{server}]" if ":" in server else server
    port = "" if host is None or not host.get("port") else f":{host.get('port')}"
    return f"{protocol}://{user}{server}{port}/{path.removeprefix('/')}"


def _virsh(uri: str | None, name: str, *words: str) -> str:
    connection = [] if uri is None else ["--connect", uri]
    if any(word.startswith("-") and not word.startswith("--") for word in words) or name.startswith("-"):
        raise UsageError(f"-d {name}: no name of a domain begins with a hyphen")
    try:
        done = subprocess.run(
            ["virsh", "--quiet", "--readonly", *connection, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": ""},
            check=False,
        )
    except FileNotFoundError as exc:
        raise GuestmountError(f"-d {name}: virsh is not installed: install the package libvirt-clients") from exc
    except subprocess.TimeoutExpired as exc:
        raise GuestmountError(f"-d {name}: libvirt does not answer within {_ANSWER_S:.0f} s") from exc
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").replace("error: ", "").split())
        raise GuestmountError(f"-d {name}: {said}: 'virsh list --all' names the domains")
    return done.stdout.decode("utf-8", "surrogateescape")
