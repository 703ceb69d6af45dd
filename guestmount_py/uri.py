"""Disks of servers, named by URIs as libguestfs's ``-a`` takes them (guestmount(1), "adding remote storage")."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

from appliance.config import RemoteDisk
from rpc.errors import UsageError

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_HTTP_S: Final = 30
"""How long a server may take for one answer; qemu gives it 5 s otherwise."""
_RECONNECT_S: Final = 30
"""How long reads wait for an NBD server that has gone; then they fail."""
_ISCSI_PORT: Final = 3260


def parse_image(text: str) -> Path | RemoteDisk:
    """Return what ``-a`` names: a file, or a server's disk.

    Raises:
        UsageError: it is a URI that makes no sense, or of a kind that is not known.
    """
    match = _SCHEME.match(text)
    if match is None:
        return Path(text)
    scheme = match[1].lower()
    if scheme == "file":
        return Path(text[match.end() :])
    shown = f"{scheme}://{text[match.end() :].rpartition('@')[2].partition('?')[0]}"
    if scheme not in _NODES:
        raise UsageError(f"-a {shown}: {scheme} images are not known: known are file, {', '.join(_NODES)}")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # whose words repeat the URI, password and all
        raise UsageError(f"-a {shown}: no such URI can be: look at its server and port") from None
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    password = None if parts.password is None else unquote(parts.password)
    try:
        node = _NODES[scheme](parts)
    except ValueError as exc:
        raise UsageError(f"-a {shown}: {exc}") from exc
    return RemoteDisk(shown, node, password)


def _nbd(parts: SplitResult) -> dict[str, Any]:
    _nobody(parts)
    return _nbd_node(parts, _server(parts, 10809))


def _nbd_unix(parts: SplitResult) -> dict[str, Any]:
    _nobody(parts)
    [socket] = parse_qs(parts.query).get("socket", [""])
    if not socket or parts.netloc:
        raise ValueError("give it as nbd+unix:///EXPORT?socket=FILE")
    return _nbd_node(parts, {"type": "unix", "path": str(Path(socket).absolute())})


def _nbd_node(parts: SplitResult, server: dict[str, str]) -> dict[str, Any]:
    return {"driver": "nbd", "server": server, "export": _path(parts), "reconnect-delay": _RECONNECT_S}


def _ssh(parts: SplitResult) -> dict[str, Any]:
    if parts.password is not None:
        raise ValueError("passwords are not taken by ssh: use a key and ssh-agent")
    server = _server(parts, 22)
    node: dict[str, Any] = {
        "driver": "ssh",
        "server": {"host": server["host"], "port": server["port"]},
        "path": unquote(parts.path),
        "host-key-check": {"mode": "known_hosts"},
    }
    return node | _user(parts, "user")


def _web(parts: SplitResult) -> dict[str, Any]:
    _server(parts, 0)
    url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return {"driver": parts.scheme.lower(), "url": url, "timeout": _HTTP_S} | _user(parts, "username")


def _iscsi(parts: SplitResult) -> dict[str, Any]:
    server = _server(parts, _ISCSI_PORT)
    target, _, unit = _path(parts).partition("/")
    if not target or not (unit or "0").isdecimal():
        raise ValueError("give it as iscsi://HOST/TARGET/UNIT")
    host = f"[{server['host']}]" if ":" in server["host"] else server["host"]
    node = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": f"{host}:{server['port']}",
        "target": target,
        "lun": int(unit or "0"),
        "timeout": _HTTP_S,
    }
    return node | _user(parts, "user")


def _rbd(parts: SplitResult) -> dict[str, Any]:
    pool, _, image = _path(parts).partition("/")
    if not pool or not image:
        raise ValueError("give it as rbd://[HOST[:PORT]]/POOL/IMAGE")
    if parts.password is not None:
        raise ValueError("passwords are not taken: Ceph's own configuration has the keys")
    server = _server(parts, 6789) if parts.hostname else None
    places = {} if server is None else {"server": [{"host": server["host"], "port": server["port"]}]}
    return {"driver": "rbd", "pool": pool, "image": image} | places | _user(parts, "user")


def _server(parts: SplitResult, port: int) -> dict[str, str]:
    if not parts.hostname:
        raise ValueError("it names no host")
    return {"type": "inet", "host": parts.hostname, "port": str(parts.port or port)}


def _path(parts: SplitResult) -> str:
    return unquote(parts.path).removeprefix("/")


def _user(parts: SplitResult, name: str) -> dict[str, str]:
    return {} if parts.username is None else {name: unquote(parts.username)}


def _nobody(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValueError("NBD knows no users")


_NODES: Final[dict[str, Callable[[SplitResult], dict[str, Any]]]] = {
    "nbd": _nbd,
    "nbd+unix": _nbd_unix,
    "ssh": _ssh,
    "http": _web,
    "https": _web,
    "ftp": _web,
    "ftps": _web,
    "iscsi": _iscsi,
    "rbd": _rbd,
}
