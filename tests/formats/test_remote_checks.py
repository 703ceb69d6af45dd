"""Disks of servers, looked at before anything is launched."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import remote as remote_module
from appliance.config import Drive, RemoteDisk
from appliance.drives import CheckedDrive, check_drive
from guestmount_py.uri import parse_image
from rpc.errors import DriveError
from tests.formats.images import encrypted
from tests.formats.servers import free_port, nbd_server, web_server
from tests.guests.cache import run

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(3 * MIB))
    return path


@pytest.fixture
def port(disk: Path) -> Iterator[int]:
    with web_server(disk.parent) as port:
        yield port


async def _checked(uri: str, kind: str | None = None, key: str | None = None) -> CheckedDrive:
    return await check_drive(Drive(path=parse_image(uri), format=kind, key=key))


async def _refusal(uri: str, kind: str | None = None) -> str:
    with pytest.raises(DriveError) as caught:
        await _checked(uri, kind)
    text = str(caught.value)
    assert "\n" not in text
    assert "json:" not in text
    assert text.startswith(uri.partition("?")[0])
    return text


async def test_format_is_found_out(disk: Path, port: int) -> None:
    for kind in ("raw", "qcow2", "vmdk", "vdi", "vhdx"):
        run("qemu-img", "convert", "-O", kind, disk, disk.with_name("x"))
        checked = await _checked(f"http://127.0.0.1:{port}/x")
        assert (checked.format, checked.size_bytes, checked.may_chain, checked.files) == (kind, 3 * MIB, False, ())
        assert checked.is_vouched_for


async def test_exports_by_tcp_and_by_socket(disk: Path) -> None:
    tcp, place = free_port(), disk.with_name("socket")
    with (
        nbd_server(disk, "--export-name=an export", port=tcp),
        nbd_server(disk, f"--socket={place}"),
    ):
        assert (await _checked(f"nbd://127.0.0.1:{tcp}/an%20export")).size_bytes == 3 * MIB
        assert "export" in await _refusal(f"nbd://127.0.0.1:{tcp}/another")
        assert (await _checked(f"nbd+unix:///?socket={place}", "raw")).size_bytes == 3 * MIB


async def test_image_that_names_others_is_refused_unless_its_format_was_given(disk: Path, port: int) -> None:
    top = disk.with_name("top.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk, top)
    uri = f"http://127.0.0.1:{port}/top.qcow2"
    assert "pass --format=qcow2" in await _refusal(uri)
    assert (await _checked(uri, "qcow2")).may_chain


async def test_descriptor_of_a_server_is_refused(disk: Path, port: int) -> None:
    """It would open files of this machine, or of the server, that somebody else has named."""
    run("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", disk, disk.with_name("flat.vmdk"))
    assert "names other files" in await _refusal(f"http://127.0.0.1:{port}/flat.vmdk")


async def test_encrypted_image_wants_a_key(disk: Path, port: int) -> None:
    image = encrypted(disk, disk.parent)
    uri = f"http://127.0.0.1:{port}/{image.name}"
    assert "is encrypted: give its key" in await _refusal(uri)
    assert (await _checked(uri, key="x")).key == "x"


async def test_nobody_there_is_one_line(disk: Path, port: int) -> None:
    closed = free_port()
    assert "Connection refused" in await _refusal(f"nbd://127.0.0.1:{closed}/x")
    assert "No such file" in await _refusal(f"nbd+unix:///x?socket={disk.with_name('absent')}")
    assert "Couldn't connect" in await _refusal(f"http://127.0.0.1:{closed}/x", "raw")
    assert "404" in await _refusal(f"http://127.0.0.1:{port}/absent")
    await _refusal(f"ssh://127.0.0.1:{closed}/x")
    await _refusal("http://host.invalid/x")


@pytest.mark.parametrize("uri", ["nbd://127.0.0.1:{}/x", "ssh://127.0.0.1:{}/x", "iscsi://127.0.0.1:{}/iqn.x/0"])
async def test_server_that_says_nothing_has_a_deadline(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setattr(remote_module, "_ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert "does not answer" in await _refusal(uri.format(silent.getsockname()[1]))
        assert time.monotonic() - began < 20


async def test_missing_driver_is_named() -> None:
    remote = RemoteDisk("x://host/disk", {"driver": "no-such-driver"})
    with pytest.raises(DriveError, match="install the package qemu-block-extra"):
        await check_drive(Drive(path=remote))


async def test_password_is_on_no_command_line(disk: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program = disk.with_name("qemu-img")
    program.write_text(f'#!/bin/sh\necho "$@" >> {disk.with_name("words")}\nexec /usr/bin/qemu-img "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr("appliance.process._SEARCH_PATH", (str(disk.parent), "/usr/bin", "/bin"))
    monkeypatch.setenv("PATH", f"{disk.parent}:/usr/bin:/bin")
    assert (await _checked(f"http://me:topsecret@127.0.0.1:{port}/disk.img")).size_bytes == 3 * MIB
    words = disk.with_name("words").read_text()
    assert "password-secret" in words
    assert "topsecret" not in words


async def test_what_only_reads_is_not_written_to(disk: Path) -> None:
    for drive in (
        Drive(path=parse_image("nbd://127.0.0.1/x"), writable=True),
        Drive(path=disk, format="split", writable=True),
        Drive(path=disk, snapshot="x", writable=True),
    ):
        with pytest.raises(DriveError, match="use --ro"):
            await check_drive(drive)
