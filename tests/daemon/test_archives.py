"""Trees that go in and out as archives, and the checksums of whole trees."""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rpc.arguments import NoArgs
from rpc.codec import GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import CHECKSUMS_OUT, PING_DAEMON, TAR_IN, TAR_OUT, TGZ_IN, TGZ_OUT, TXZ_IN, TXZ_OUT
from rpc.procedures.archives import ChecksumsOutArgs, TarInArgs, TarOutArgs, TgzInArgs
from tests.daemon.guestfsd import Guestfsd, names_in

COMPRESSORS = ["gzip", "bzip2", "xz", "lzop"]
SUB = GuestPath(b"/sub")


@pytest.fixture
def tree(guest: Path) -> Path:
    """Fill a directory with what archives hold."""
    tree = guest / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "dir/big").write_bytes(os.urandom(300_000))
    (tree / "dir/big").chmod(0o6750)
    os.chown(tree / "dir/big", 1, 12345)
    os.utime(tree / "dir/big", ns=(10**18, 10**18))
    (tree / "hard").hardlink_to(tree / "dir/big")
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "skip.o").touch()
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", 0o20600, os.makedev(1, 3))
    os.setxattr(tree / "dir/big", "user.colour", b"blue")
    os.setxattr(tree / "dir/big", "trusted.secret", b"yes")
    return tree


def packed(*options: str, tree: Path) -> bytes:
    return subprocess.run(["tar", "-c", "-C", tree, *options, "."], capture_output=True, check=True).stdout


def unpacked(data: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(data))


def look(path: Path) -> dict[str, tuple[int, ...]]:
    """Return what archives keep of every file below a directory."""
    found: dict[str, tuple[int, ...]] = {}
    for each in sorted(path.rglob("*")):
        info = each.lstat()
        found[str(each.relative_to(path))] = (*info[4:7], info.st_mode, info.st_rdev, int(info.st_mtime))
    return found


@pytest.mark.parametrize("compress", [None, *COMPRESSORS])
def test_tar_in_restores_everything(daemon: Guestfsd, guest: Path, tree: Path, compress: str | None) -> None:
    data = packed(*([f"--{compress}"] if compress else []), tree=tree)
    daemon.upload(TAR_IN, TarInArgs(SUB, compress), data)
    (guest / "sub/inner").unlink()
    assert look(guest / "sub") == look(tree)
    assert (guest / "sub/dir/big").read_bytes() == (tree / "dir/big").read_bytes()
    assert (guest / "sub/hard").samefile(guest / "sub/dir/big")
    assert (guest / "sub/link").readlink() == Path("/etc/passwd")
    assert os.listxattr(guest / "sub/dir/big") == []


@pytest.mark.parametrize("compress", [None, *COMPRESSORS])
def test_tar_out_packs_everything(daemon: Guestfsd, tree: Path, tmp_path: Path, compress: str | None) -> None:
    data = daemon.download(TAR_OUT, TarOutArgs("/tree", compress))
    (tmp_path / "out").mkdir()
    option = [f"--{compress}"] if compress else []
    subprocess.run(["tar", "-x", "-C", tmp_path / "out", *option], input=data, check=True)
    assert look(tmp_path / "out") == look(tree)
    assert (tmp_path / "out/dir/big").read_bytes() == (tree / "dir/big").read_bytes()


def test_attributes_go_only_when_they_are_asked_for(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    names = {"user.colour", "trusted.secret"}
    subprocess.run(["setfacl", "-m", "u:7:r", tree / "dir/big"], check=True)
    data = daemon.download(TAR_OUT, TarOutArgs("/tree", xattrs=True, acls=True, selinux=True))
    found = {}
    for target in ("none", "xattrs", "acls"):
        (guest / target).mkdir()
        args = TarInArgs(GuestPath(b"/" + target.encode()), xattrs=target == "xattrs", acls=target == "acls")
        daemon.upload(TAR_IN, args, data)
        found[target] = set(os.listxattr(guest / target / "dir/big"))
    acl = {"system.posix_acl_access"}
    assert found == {"none": set(), "xattrs": names | acl, "acls": acl}
    plain = daemon.download(TAR_OUT, TarOutArgs("/tree"))
    assert b"user.colour" in data
    assert b"user.colour" not in plain


def test_tar_out_leaves_out_and_names_no_owners(daemon: Guestfsd, tree: Path) -> None:
    args = TarOutArgs("/tree", numericowner=True, excludes=["*.o", "./dir/big", "fifo"])
    with unpacked(daemon.download(TAR_OUT, args)) as tar:
        assert {member.name for member in tar} == {".", "./dir", "./hard", "./link", "./null"}
        assert {member.uname for member in tar} == {""}
    with unpacked(daemon.download(TAR_OUT, TarOutArgs("/tree"))) as tar:
        assert "root" in {member.uname for member in tar}


def test_tar_out_of_a_link_and_of_the_root(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "way").symlink_to("/sub")
    (guest / "root").symlink_to("/".join([".."] * 30))
    with unpacked(daemon.download(TAR_OUT, TarOutArgs("/way"))) as tar:
        assert tar.getnames() == [".", "./inner"]
    for name in ("/", "/root"):
        with unpacked(daemon.download(TAR_OUT, TarOutArgs(name))) as tar:
            assert "./hello" in tar.getnames()
            assert "./secret" not in tar.getnames()


@pytest.mark.parametrize(
    ("args", "errno"),
    [
        (TarOutArgs("/none"), "ENOENT"),
        (TarOutArgs("sub"), "ENOENT"),
        (TarOutArgs("/hello"), "ENOTDIR"),
        (TarOutArgs("/sub", "zip"), ""),
    ],
)
def test_tar_out_refuses(daemon: Guestfsd, args: TarOutArgs, errno: str) -> None:
    assert daemon.error(TAR_OUT, args)[0] == errno


@pytest.mark.parametrize(
    ("args", "errno"),
    [
        (TarInArgs(GuestPath(b"/none")), "ENOENT"),
        (TarInArgs(GuestPath(b"/hello")), "ENOTDIR"),
        (TarInArgs(SUB, "zip"), ""),
        (TarInArgs(SUB), ""),
    ],
)
def test_tar_in_refuses(daemon: Guestfsd, guest: Path, args: TarInArgs, errno: str) -> None:
    with pytest.raises(ProcedureError) as caught:
        daemon.upload(TAR_IN, args, b"this is no archive" * 100_000)
    assert caught.value.errno_name == errno
    assert names_in(guest / "sub") == ["inner"]
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_tar_in_of_an_archive_cut_short(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    data = packed(tree=tree)
    with pytest.raises(ProcedureError, match="Unexpected EOF"):
        daemon.upload(TAR_IN, TarInArgs(SUB), data[: len(data) // 2])
    with pytest.raises(ProcedureError, match="the sender cancelled"):
        daemon.upload(TAR_IN, TarInArgs(SUB), data[: len(data) // 2], cancelled=True)
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_tar_in_ignores_what_stands_behind_the_archive(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    daemon.upload(TAR_IN, TarInArgs(SUB), packed(tree=tree) + b"garbage" * 200_000)
    assert (guest / "sub/hard").exists()


def test_cancelled_tar_out_leaves_the_channel_usable(daemon: Guestfsd, guest: Path) -> None:
    with (guest / "sub/huge").open("wb") as file:
        file.truncate(1 << 30)
    daemon.start_download(TAR_OUT, TarOutArgs("/sub"))
    chunks = daemon.chunks()
    next(chunks)
    daemon.channel.sendall(daemon.connection.send_cancel_word())
    *_, end = chunks
    assert end.cancelled
    assert daemon.call(PING_DAEMON, NoArgs()) is None


def test_deprecated_forms(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    args = TgzInArgs(GuestPath(b"/tree"))
    zipped, xzed = daemon.download(TGZ_OUT, args), daemon.download(TXZ_OUT, args)
    assert unpacked(gzip.decompress(zipped)).getnames() == unpacked(xzed).getnames()
    assert xzed.startswith(b"\xfd7zXZ")
    targets: list[tuple[Any, bytes, bytes]] = [(TGZ_IN, b"/gz", zipped), (TXZ_IN, b"/xz", xzed)]
    for procedure, target, data in targets:
        (guest / os.fsdecode(target)[1:]).mkdir()
        daemon.upload(procedure, TgzInArgs(GuestPath(target)), data)
        assert look(guest / os.fsdecode(target)[1:]) == look(tree)


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_checksums_out_tells_every_regular_file(daemon: Guestfsd, tree: Path, kind: str) -> None:
    lines = daemon.download(CHECKSUMS_OUT, ChecksumsOutArgs(kind, GuestPath(b"/tree"))).decode().splitlines()
    expected = {
        f"{hashlib.new(kind, (tree / name).read_bytes()).hexdigest()}  ./{name}"
        for name in ("dir/big", "hard", "skip.o")
    }
    assert set(lines) == expected
    assert len(lines) == 3


def test_checksums_out_of_many_files(daemon: Guestfsd, guest: Path) -> None:
    for number in range(3000):
        (guest / f"sub/{number:04}{'x' * 100}").write_text(str(number))
    lines = daemon.download(CHECKSUMS_OUT, ChecksumsOutArgs("crc", SUB)).decode().splitlines()
    assert len(lines) == 3001
    assert any(line.endswith(f" 4 ./2999{'x' * 100}") for line in lines)


def test_checksums_out_refuses(daemon: Guestfsd) -> None:
    assert daemon.error(CHECKSUMS_OUT, ChecksumsOutArgs("crc32", SUB))[0] == ""
    assert daemon.error(CHECKSUMS_OUT, ChecksumsOutArgs("md5", GuestPath(b"/none")))[0] == "ENOENT"
    assert daemon.error(CHECKSUMS_OUT, ChecksumsOutArgs("md5", GuestPath(b"/hello")))[0] == "ENOTDIR"
