"""Everything a filesystem can hold that a plain copy loses: written through the host's kernel, as root."""

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from tests.guests.cache import run

NOT_UTF8: Final = b"caf\xe9-\xff\xfe-\x01\n\t\"'\\ *"
LONGEST_NAME: Final = b"n" * 255
LONGEST_NOT_UTF8: Final = b"\xfe" * 255
# 59 and 60 straddle ext4's inline symlinks; xfs ends at 1023, and 4000 is ext4's and btrfs's only.
LINK_TARGET_BYTES: Final = (1, 59, 60, 61, 400, 1010)
DEEP_LEVELS: Final = 100
DEEP_NAME_BYTES: Final = 34

# struct vfs_cap_data, revision 2 (linux/capability.h): magic and effective flag, then permitted and inheritable, low
# words first. This is cap_net_raw+ep.
CAP_NET_RAW: Final = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def write_oddities(root: Path) -> None:
    """Fill an empty directory with one of everything."""
    for write in (_names, _links, _nodes, _modes, _times, _xattrs, _acls, _contents, _deep):
        directory = root / write.__name__.removeprefix("_")
        directory.mkdir()
        write(directory)


def write_flags(root: Path) -> None:
    """Make an immutable and an append-only file; nothing below ``root`` can be removed until chattr takes it back."""
    for name, flag in ((b"immutable", "+i"), (b"append-only", "+a")):
        file = root / os.fsdecode(name)
        file.write_bytes(name)
        run("chattr", flag, file)


def _names(directory: Path) -> None:
    for name in (NOT_UTF8, LONGEST_NAME, LONGEST_NOT_UTF8, b" ", b"-rf", b"...", "\N{SNOWMAN}".encode(), b"\xc3\x28"):
        Path(os.fsdecode(os.path.join(os.fsencode(directory), name))).write_bytes(name)
    below = directory / os.fsdecode(NOT_UTF8 + b".d")
    below.mkdir()
    (below / os.fsdecode(NOT_UTF8)).write_bytes(b"below")
    (below / os.fsdecode(b"to-\xff")).symlink_to(os.fsdecode(NOT_UTF8))


def _links(directory: Path) -> None:
    for length_bytes in LINK_TARGET_BYTES:
        (directory / f"target-{length_bytes}").symlink_to("t" * length_bytes)
    (directory / "dangling").symlink_to("/no/such/file")
    (directory / "loop").symlink_to("loop")
    (directory / "absolute").symlink_to("/etc/passwd")
    (directory / "climbing").symlink_to("../../../../../../../../etc/passwd")
    (directory / "not-utf8").symlink_to(os.fsdecode(NOT_UTF8))
    first = directory / "hard-0"
    first.write_bytes(b"one inode, many names\n")
    (directory / "elsewhere").mkdir()
    for count in range(1, 20):
        (directory / "elsewhere" / f"hard-{count}").hardlink_to(first)
    (directory / "hard-symlink").symlink_to("hard-0")
    os.link(directory / "hard-symlink", directory / "hard-symlink-2", follow_symlinks=False)


def _nodes(directory: Path) -> None:
    os.mkfifo(directory / "fifo", 0o620)
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's address is short; its name in the filesystem need not be.
        directory_fd = os.open(directory, os.O_DIRECTORY)
        try:
            listener.bind(f"/proc/self/fd/{directory_fd}/socket")
        finally:
            os.close(directory_fd)
    for name, kind, major, minor in (
        ("null", stat.S_IFCHR, 1, 3),
        ("disk", stat.S_IFBLK, 8, 17),
        # Device numbers beyond 8 + 8 bits; xfs ends at 9 and 18 bits.
        ("wide-minor", stat.S_IFCHR, 195, 0x3ABCD),
        ("wide-major", stat.S_IFBLK, 511, 0x3FFFF),
        ("whiteout", stat.S_IFCHR, 0, 0),
    ):
        os.mknod(directory / name, kind | 0o640, os.makedev(major, minor))
    os.link(directory / "null", directory / "null-again")


def _modes(directory: Path) -> None:
    for mode in (0o000, 0o111, 0o444, 0o755, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777):
        file = directory / f"file-{mode:04o}"
        file.write_bytes(b"x")
        file.chmod(mode)
        below = directory / f"directory-{mode:04o}"
        below.mkdir()
        below.chmod(mode)
    for uid, gid in ((1000, 1000), (65534, 65534), (100000, 200000), (2**31, 2**32 - 2)):
        file = directory / f"owner-{uid}-{gid}"
        file.touch()
        os.chown(file, uid, gid)
        link = directory / f"link-owner-{uid}"
        link.symlink_to("nowhere")
        os.chown(link, uid, gid, follow_symlinks=False)


def _times(directory: Path) -> None:
    for name, seconds, nanoseconds in (
        ("before-1970", -86_400 * 365, 999_999_999),
        ("epoch", 0, 1),
        ("now", 1_700_000_000, 123_456_789),
        ("last-of-2038", 2**31 - 1, 999_999_999),
        ("after-2038", 2**31 + 5, 1),
        ("year-2100", 4_102_444_800, 500_000_000),
    ):
        file = directory / name
        file.touch()
        time_ns = seconds * 1_000_000_000 + nanoseconds
        os.utime(file, ns=(time_ns, time_ns + 1000))
    link = directory / "link"
    link.symlink_to("now")
    os.utime(link, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321), follow_symlinks=False)


def _xattrs(directory: Path) -> None:
    file = directory / "file"
    file.write_bytes(b"x")
    os.setxattr(file, "user.empty", b"")
    os.setxattr(file, "user.bytes", bytes(range(256)))
    os.setxattr(file, b"user." + b"\xff" * 8, b"a name that is not UTF-8")
    os.setxattr(file, "user." + "n" * 250, b"the longest name")
    os.setxattr(file, "trusted.secret", b"root only")
    os.setxattr(file, "security.other", b"any")
    capable = directory / "capable"
    capable.write_bytes(b"#!/bin/true\n")
    os.setxattr(capable, "security.capability", CAP_NET_RAW)
    many = directory / "many"
    many.touch()
    for count in range(40):
        os.setxattr(many, f"user.attribute-{count:02d}", f"value {count}".encode())
    large = directory / "large"
    large.touch()
    os.setxattr(large, "user.large", bytes(range(256)) * 12)
    below = directory / "directory"
    below.mkdir()
    os.setxattr(below, "user.on-directory", b"yes")
    link = directory / "link"
    link.symlink_to("file")
    os.setxattr(link, "trusted.on-link", b"yes", follow_symlinks=False)
    os.mkfifo(directory / "fifo")
    os.setxattr(directory / "fifo", "trusted.on-fifo", b"yes", follow_symlinks=False)


def _acls(directory: Path) -> None:
    file = directory / "file"
    file.write_bytes(b"x")
    run("setfacl", "--modify", "u:1000:rw,g:2000:r,m::rwx", file)
    below = directory / "default"
    below.mkdir()
    run("setfacl", "--modify", "u:1000:rwx", below)
    run("setfacl", "--default", "--modify", "u:1000:rwx,g:2000:rx", below)
    (below / "inherits").write_bytes(b"x")


def _contents(directory: Path) -> None:
    (directory / "empty").touch()
    (directory / "empty.d").mkdir()
    for size_bytes in (1, 59, 60, 61, 155, 511, 512, 4095, 4096, 4097, 8192, 131_071, 131_072, 131_073, 3_000_001):
        (directory / f"size-{size_bytes}").write_bytes(_pattern(size_bytes))
    with (directory / "sparse").open("wb") as file:
        for hole in range(8):
            file.seek(hole << 20)
            file.write(_pattern(5000))
        file.truncate((8 << 20) + 123)
    with (directory / "only-a-hole").open("wb") as file:
        file.truncate(3 << 20)
    with (directory / "preallocated").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        file.write(b"the rest was never written")


def _deep(directory: Path) -> None:
    at = os.open(directory, os.O_DIRECTORY)
    for level in range(DEEP_LEVELS):
        name = f"{level:03d}-".ljust(DEEP_NAME_BYTES, "d")
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def _pattern(size_bytes: int) -> bytes:
    """Bytes that differ at every offset a block, a page or a chunk could be swapped with."""
    words = size_bytes // 4 + 1
    return struct.pack(f"<{words}I", *(word * 2_654_435_761 % 2**32 for word in range(words)))[:size_bytes]
