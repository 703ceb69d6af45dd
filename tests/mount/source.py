"""A directory with one of everything that a guest's filesystem can hold."""

import os
import random
import socket
import stat as modes
import time
from pathlib import Path
from typing import Final

CAPABILITY: Final = bytes.fromhex("0100000200200000000000000000000000000000")
"""security.capability, version 2: cap_net_raw permitted and effective (linux/capability.h)."""
ACL: Final = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000400ffffffff")
"""system.posix_acl_access, version 2: user 1000 may read (linux/posix_acl_xattr.h)."""
SPARSE_BYTES: Final = 5 << 30
NAMES: Final = (b"\xff\xfe not UTF-8", b"new\nline", b"-rf", b"a b", b"\\", b"x" * 255, "Grüße".encode())
SIZES_BYTES: Final = (0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 300_001, 4 << 20, (9 << 20) + 123)


def build_source(root: Path) -> None:
    """Fill an existing directory; needs root for devices and trusted attributes."""
    _build_contents(root / "contents")
    _build_names(root / "names")
    _build_kinds(root / "kinds")
    _build_attributes(root / "attributes")
    for number in range(12):
        _build_small(root / "small" / f"{number:02}", number)
    _keep_atimes(root)


def _keep_atimes(root: Path) -> None:
    """Set access times ahead, so that reading (relatime) does not change what is compared."""
    when_ns = time.time_ns() + 3_600_000_000_000
    for directory, names, files in os.walk(os.fsencode(root)):
        for path in [directory, *(os.path.join(directory, name) for name in names + files)]:
            info = os.lstat(path)
            if info.st_atime_ns > 0:
                os.utime(path, ns=(max(when_ns, info.st_atime_ns), info.st_mtime_ns), follow_symlinks=False)


def _build_contents(directory: Path) -> None:
    directory.mkdir()
    for size in SIZES_BYTES:
        (directory / f"{size}").write_bytes(random.Random(size).randbytes(size))
    with (directory / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(SPARSE_BYTES)
        file.seek(SPARSE_BYTES - 3)
        file.write(b"end")


def _build_names(directory: Path) -> None:
    directory.mkdir()
    for name in NAMES:
        (directory / os.fsdecode(name)).write_bytes(name)
    deep = directory
    for _ in range(60):
        deep /= "deep"
        deep.mkdir()


def _build_kinds(directory: Path) -> None:
    directory.mkdir()
    for name, target in (
        ("relative", "../contents/1"),
        ("absolute", "/etc"),
        ("dangling", "nowhere"),
        ("long", "x" * 4000),
    ):
        (directory / name).symlink_to(target)
    os.mkfifo(directory / "fifo")
    os.mknod(directory / "block", modes.S_IFBLK | 0o640, os.makedev(259, 70_000))
    os.mknod(directory / "char", modes.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(directory)  # sun_path holds 108 bytes only
        listener.bind("socket")
        os.chdir(here)
    (directory / "link1").write_bytes(b"three names")
    (directory / "link2").hardlink_to(directory / "link1")
    (directory / "sub").mkdir()
    (directory / "sub" / "link3").hardlink_to(directory / "link1")


def _build_attributes(directory: Path) -> None:
    directory.mkdir()
    plain = directory / "plain"
    plain.write_bytes(b"attributes")
    os.setxattr(plain, "user.empty", b"")
    os.setxattr(plain, "user.binary", bytes(range(256)))
    os.setxattr(plain, "trusted.secret", b"root only")
    program = directory / "program"
    program.write_bytes(b"#!")
    os.chown(program, 1000, 4_000_000_000)
    program.chmod(0o6755)
    os.setxattr(program, "security.capability", CAPABILITY)
    shared = directory / "shared"
    shared.write_bytes(b"acl")
    os.setxattr(shared, "system.posix_acl_access", ACL)
    os.setxattr(directory, "system.posix_acl_default", ACL)
    sticky = directory / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    for name, when_ns in (("old", -1_234_567_890_123_456_789), ("new", 4_102_444_800_987_654_321)):
        (directory / name).touch()
        os.utime(directory / name, ns=(when_ns, when_ns + 1))


def _build_small(directory: Path, seed: int) -> None:
    directory.mkdir(parents=True)
    generator = random.Random(seed)
    for number in range(150):
        (directory / f"{number}").write_bytes(generator.randbytes(generator.randrange(20_000)))
