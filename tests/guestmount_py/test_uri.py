"""URIs of disks, as guestmount(1) has them."""

from pathlib import Path
from typing import Any

import pytest

from appliance.config import RemoteDisk
from guestmount_py.uri import parse_image
from rpc.errors import UsageError


@pytest.mark.parametrize(
    ("text", "path"),
    [("disk.img", "disk.img"), ("file:///a b", "/a b"), ("a:b", "a:b"), ("./nbd:x", "nbd:x"), ("a b://c", "a b:/c")],
)
def test_file_is_a_path(text: str, path: str) -> None:
    assert parse_image(text) == Path(path)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("nbd://host", {"server": {"type": "inet", "host": "host", "port": "10809"}, "export": ""}),
        ("nbd://[::1]:7/a%20b", {"server": {"type": "inet", "host": "::1", "port": "7"}, "export": "a b"}),
        ("nbd+unix:///x?socket=/run/s", {"server": {"type": "unix", "path": "/run/s"}, "export": "x"}),
        ("ssh://me@host/a/b", {"server": {"host": "host", "port": "22"}, "path": "/a/b", "user": "me"}),
        ("http://host:8/a?b=c", {"driver": "http", "url": "http://host:8/a?b=c"}),
        ("https://me@host/a", {"driver": "https", "url": "https://host/a", "username": "me"}),
        ("iscsi://host/iqn.2001:x/3", {"portal": "host:3260", "target": "iqn.2001:x", "lun": 3}),
        ("iscsi://[::1]/iqn.x", {"portal": "[::1]:3260", "target": "iqn.x", "lun": 0}),
        ("rbd:///pool/disk", {"driver": "rbd", "pool": "pool", "image": "disk"}),
        ("rbd://me@host/pool/disk", {"user": "me", "server": [{"host": "host", "port": "6789"}]}),
    ],
)
def test_uri_is_a_node_of_qemu(text: str, node: dict[str, Any]) -> None:
    remote = parse_image(text)
    assert isinstance(remote, RemoteDisk)
    assert {name: remote.node[name] for name in node} == node


def test_password_is_kept_out_of_sight() -> None:
    remote = parse_image("https://me:pa%3Ass@host/disk.qcow2?token=secret")
    assert isinstance(remote, RemoteDisk)
    assert remote.password == "pa:ss"
    assert str(remote) == "https://host/disk.qcow2"
    assert "pa:ss" not in repr(remote)
    assert "ss@" not in str(remote.node)


def test_socket_is_found_from_every_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    remote = parse_image("nbd+unix:///?socket=s")
    assert isinstance(remote, RemoteDisk)
    assert remote.node["server"]["path"] == str(tmp_path / "s")


@pytest.mark.parametrize(
    "text",
    [
        *("gopher://host/a", "nbd://", "nbd://host:x", "nbd://me@host", "nbd+unix:///x", "nbd+unix://host/?socket=s"),
        *("gopher://me:secret@host/a?secret", "http://me:secret@host:x/a", "http://[secret@host/a"),
        "http://me:secret\u2100@host/a",
        *("ssh://me:secret@host/a", "ssh:///a", "http:///a", "iscsi://host/", "iscsi://host/a/b", "rbd:///pool"),
    ],
)
def test_nonsense_is_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_image(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
