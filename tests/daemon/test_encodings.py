"""Files that go out compressed, and in and out as base64."""

import base64
import bz2
import gzip
import lzma
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rpc.arguments import NoArgs
from rpc.codec import Device, GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import BASE64_IN, BASE64_OUT, COMPRESS_DEVICE_OUT, COMPRESS_OUT, PING_DAEMON
from rpc.procedures.archives import Base64InArgs, CompressDeviceOutArgs, CompressOutArgs
from tests.daemon.guestfsd import Guestfsd

HELLO = GuestPath(b"/hello")
NEW = GuestPath(b"/new")


def lzop_decompress(data: bytes) -> bytes:
    return subprocess.run(["lzop", "-dc"], input=data, capture_output=True, check=True).stdout


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "lzop": lzop_decompress,
}


@pytest.mark.parametrize("ctype", UNPACK)
@pytest.mark.parametrize("level", [None, 1, 9])
def test_compress_out(daemon: Guestfsd, guest: Path, ctype: str, level: int | None) -> None:
    data = os.urandom(100_000) + bytes(1 << 20)
    (guest / "new").write_bytes(data)
    packed = daemon.download(COMPRESS_OUT, CompressOutArgs(ctype, NEW, level))
    assert len(packed) < 200_000
    assert UNPACK[ctype](packed) == data


@pytest.mark.root
def test_compress_device_out(daemon: Guestfsd, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"disk" * 1024)
    command = ["losetup", "--find", "--show", str(tmp_path / "disk")]
    device = subprocess.run(command, capture_output=True, check=True).stdout.decode().strip()
    try:
        packed = daemon.download(COMPRESS_DEVICE_OUT, CompressDeviceOutArgs("gzip", Device(device)))
        assert gzip.decompress(packed) == b"disk" * 1024
        assert daemon.error(COMPRESS_DEVICE_OUT, CompressDeviceOutArgs("zip", Device(device)))[0] == ""
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_compress_out_refuses(daemon: Guestfsd) -> None:
    assert daemon.error(COMPRESS_OUT, CompressOutArgs("zip", HELLO))[0] == ""
    assert daemon.error(COMPRESS_OUT, CompressOutArgs("gzip", HELLO, 10)) == ("", "gzip has no level 10")
    assert daemon.error(COMPRESS_OUT, CompressOutArgs("compress", HELLO, 1)) == ("", "compress has no level 1")
    found = [
        daemon.error(COMPRESS_OUT, CompressOutArgs("gzip", GuestPath(path)))[0]
        for path in (b"/none", b"/sub", b"/fifo")
    ]
    assert found == ["ENOENT", "EISDIR", "EINVAL"]


def test_base64_goes_both_ways(daemon: Guestfsd, guest: Path) -> None:
    data = os.urandom(300_001)
    daemon.upload(BASE64_IN, Base64InArgs(NEW), base64.encodebytes(data))
    assert (guest / "new").read_bytes() == data
    assert base64.b64decode(daemon.download(BASE64_OUT, Base64InArgs(NEW))) == data
    daemon.upload(BASE64_IN, Base64InArgs(NEW), b"a*G^Vs\nbG8=")
    assert (guest / "new").read_bytes() == b"hello"


def test_base64_refuses(daemon: Guestfsd, guest: Path) -> None:
    assert daemon.error(BASE64_OUT, Base64InArgs(NEW))[0] == "ENOENT"
    assert daemon.error(BASE64_IN, Base64InArgs(GuestPath(b"/sub")))[0] == "EISDIR"
    with pytest.raises(ProcedureError, match="cancelled"):
        daemon.upload(BASE64_IN, Base64InArgs(NEW), b"aGVsbG8=" * 100_000, cancelled=True)
    assert daemon.call(PING_DAEMON, NoArgs()) is None
