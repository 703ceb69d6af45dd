"""Mounts and lists of disks that no file is, over loopback and with real servers."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.formats.images import GUESSED, KEY, SNAPSHOT, encrypted, random_bytes, split, with_snapshot
from tests.formats.servers import free_port, nbd_server, ssh_server, web_server
from tests.system.sandbox import GUESTMOUNT, SLOW, Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.fuse]
_BLOB = hashlib.md5(random_bytes(1 << 20)).hexdigest()


def _list(sandbox: Sandbox, *words: str | Path, prefix: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [*prefix, *GUESTMOUNT, "list", *map(str, words)],
        env=sandbox.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    done.stderr = SLOW.sub("", done.stderr)
    return done


def _sums(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_disk_of_another_host_is_protected_twice(small_disk: Path, sandbox: Sandbox) -> None:
    """The recipe of docs/guests.md: an export that is read-only, and an overlay above it."""
    port = free_port()
    before = hashlib.md5(small_disk.read_bytes()).digest()
    statistics = sandbox.directory / "statistics"
    with nbd_server(small_disk, port=port):
        done = sandbox.guestmount(
            *("--format=raw", "-a", f"nbd://127.0.0.1:{port}/", "-m", "/dev/sda", "--ro"),
            *("--stats", statistics, sandbox.mountpoint),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert _sums(sandbox.mountpoint) == _sums(small_disk.with_name("tree"))
        ended = sandbox.guestunmount()
        assert (ended.returncode, ended.stderr) == (0, "")
        refused = subprocess.run(
            ["qemu-io", "-f", "raw", "-c", "write 0 512", f"nbd://127.0.0.1:{port}/"], capture_output=True, text=True
        )
        assert "Permission denied" in refused.stderr
    assert hashlib.md5(small_disk.read_bytes()).digest() == before
    planes = json.loads(statistics.read_text())["planes"]
    assert planes["export"]["bytes"] >= 1 << 20, planes


def test_images_that_need_more_than_their_file_are_mounted(small_disk: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    key = tmp_path / "the key"
    key.write_text(f"{KEY}\n")
    secret = encrypted(small_disk, tmp_path)
    done = sandbox.guestmount(
        *("-a", GUESSED["vmdk monolithicFlat"](small_disk, tmp_path)),
        *("--format=split", "-a", split(small_disk, tmp_path)),
        *("--format=qcow2", "-a", secret, "--key", f"{secret.name}:file:{key}"),
        *("--format", f"--snapshot={SNAPSHOT}", "-a", with_snapshot(small_disk, tmp_path)),
        *("-m", "/dev/sda", "-m", "/dev/sdb:/b", "-m", "/dev/sdc:/c", "-m", "/dev/sdd:/d"),
        *("--ro", sandbox.mountpoint),
    )
    assert (done.returncode, done.stderr) == (0, ""), sandbox.log()
    sums = _sums(sandbox.mountpoint)
    assert [sums[f"{place}directory/blob"] for place in ("", "b/", "c/", "d/")] == [_BLOB] * 4
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert KEY not in sandbox.log()


def test_wrong_key_and_absent_snapshot_are_one_line(small_disk: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    wrong = _list(sandbox, "-a", encrypted(small_disk, tmp_path), "--key", "all:key:wrong")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1), wrong.stderr
    assert "Invalid password" in wrong.stderr
    none = _list(sandbox, "-a", tmp_path / "secret.qcow2")
    assert none.returncode == 1
    assert "--key" in none.stderr
    absent = _list(sandbox, "--snapshot=absent", "-a", with_snapshot(small_disk, tmp_path))
    assert absent.stderr.endswith(f"no internal snapshot absent: there are: {SNAPSHOT}\n")


@pytest.mark.root
@pytest.mark.skipif(shutil.which("dropbear", path="/usr/sbin") is None, reason="not installed: dropbear")
def test_list_reaches_servers_of_every_kind(small_disk: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with (
        web_server(small_disk.parent) as web,
        nbd_server(small_disk, f"--socket={place}"),
        ssh_server(tmp_path) as (ssh, with_key),
    ):
        done = _list(
            sandbox,
            *("--json", "-a", f"http://127.0.0.1:{web}/disk.img", "-a", f"nbd+unix:///?socket={place}"),
            *("-a", f"ssh://root@127.0.0.1:{ssh}{small_disk}"),
            prefix=with_key,
        )
    assert (done.returncode, done.stderr) == (0, "")
    listed = json.loads(done.stdout)
    assert [each["label"] for each in listed["filesystems"]] == ["root"] * 3
    assert [each["size_bytes"] for each in listed["disks"]] == [8 << 20] * 3
    assert listed["disks"][0]["image"] == f"http://127.0.0.1:{web}/disk.img"


@pytest.mark.skipif(shutil.which("virsh") is None, reason="not installed: virsh")
def test_disks_of_a_domain_are_mounted(small_disk: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    image = GUESSED["qcow2"](small_disk, tmp_path)
    (tmp_path / "node.xml").write_text(
        "<node><domain type='test'><name>guest</name><memory>1024</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><driver type='qcow2'/><source file='{image}'/><target dev='vda'/></disk>"
        f"<disk type='file'><driver type='raw'/><source file='{small_disk}'/><target dev='vdb'/></disk>"
        "</devices></domain></node>"
    )
    done = sandbox.guestmount(
        *("-c", f"test://{tmp_path / 'node.xml'}", "-d", "guest"),
        *("-m", "/dev/sda", "-m", "/dev/sdb:/b", "--ro", sandbox.mountpoint),
    )
    assert (done.returncode, done.stderr) == (0, "")
    sums = _sums(sandbox.mountpoint)
    assert [sums["directory/blob"], sums["b/directory/blob"]] == [_BLOB] * 2
    ended = sandbox.guestunmount()
    assert (ended.returncode, ended.stderr) == (0, "")


def test_server_that_goes_away_is_an_error_and_no_hang(small_disk: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    """qemu waits 30 seconds for it, which is the longest that a read takes."""
    place = tmp_path / "socket"
    with nbd_server(small_disk, f"--socket={place}"):
        done = sandbox.guestmount("-a", f"nbd+unix:///?socket={place}", "-m", "/dev/sda", "--ro", sandbox.mountpoint)
        assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(OSError, match="Input/output error"):
        (sandbox.mountpoint / "directory" / "blob").read_bytes()
    sandbox.guestunmount()
