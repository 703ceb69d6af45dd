"""A random mixture of calls: the same for the same seed, and about as likely to succeed as to fail.

Names come from a small pool, so that calls meet each other's files. Nothing is chosen by what a call answered.

What is left out, and why, is in LEFT_OUT. Nothing of the mixture is called /source or /copy but copies.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

SEED: Final = 20261121
COUNT: Final = 2000
LEFT_OUT: Final = (
    ("`ln_f`", "libguestfs's loses the name if there is nothing to link to, and all that follows would differ"),
    ("links to relative names", "libguestfs's `ln` looks them up in the appliance, not in the guest"),
    (
        "copies of a file onto itself, of directories, and of more than there is",
        "what libguestfs's leaves of the target then is an accident of its buffers",
    ),
    ("`mkfs` of a type that there is not", "libguestfs's wipes the device before it looks; ours looks first"),
    ("reading from FIFOs", "libguestfs's daemon waits for a writer for ever"),
    (
        "archives, LUKS, MD, btrfs, copies between devices, `command`",
        "each call takes a second or changes all disks; the scripts above make them",
    ),
)
"""What the mixture has not, and why."""

# st_mode's file types.
_FIFO, _CHARACTER, _DIRECTORY, _BLOCK, _REGULAR, _SOCKET = (0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o140000)
NAMES: Final = ("a", "b", "c", "dir", "Dir", "link", "é", "with space", "*", "n" * 255)
_LIKELY: Final = (10, 9, 9, 20, 14, 6, 8, 2, 1, 1)
_BAD_PATHS: Final = (
    "relative",
    "",
    "/" + "n" * 256,
    "/missing/a",
    "/a/../b",
    "/dir//b/",
    "/dir/.",
    "/" + "p/" * 2100,
)
_XATTRS: Final = ("user.one", "user.two", "trusted.three", "security.four", "nonsense", "user.", "system.five")
_MODES: Final = (0o644, 0o600, 0o755, 0o4755, 0o1777, 0, 0o7777, 0o10000, -1)
_SIZES: Final = (0, 1, 511, 4096, 10_000, 65_537, 300_000)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the library's API."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [_short(value) for value in self.arguments]
        words += [f"{name}={_short(value)}" for name, value in self.keywords.items()]
        return f"{self.name}({', '.join(words)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(value)})"


class Mixture:
    """The calls that one seed stands for.

    Args:
        seed: any number.
        local: an existing directory of this machine, for uploads and downloads.
    """

    def __init__(self, seed: int, local: Path) -> None:
        self._random = random.Random(seed)
        self._local = local

    def calls(self, count: int) -> Iterator[Call]:
        """Yield the calls, in order."""
        kinds = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]
        for _ in range(count):
            yield self._random.choice(kinds)(self)

    def path(self) -> str:
        """Choose an absolute path, seldom a bad one."""
        if self._random.random() < 0.04:
            return self._random.choice(_BAD_PATHS)
        depth = self._random.choices((0, 1, 2, 3), (2, 56, 40, 2))[0]
        first = self._random.choices(NAMES, _LIKELY)[0]
        return "/" + "/".join([first, *(self.pick("a", "b", "link") for _ in range(depth))][:depth])

    def place(self) -> str:
        """Choose a path for something new that is no link."""
        path = self.path()
        return path.removesuffix("link") + "b" if path.endswith("/link") else path

    def pick(self, *values: T) -> T:
        """Choose one."""
        return self._random.choice(values)

    def data(self) -> bytes:
        """Choose a content: lines of text, or any bytes."""
        size = self.pick(*_SIZES)
        if self.pick(True, False):
            line = b"line %d of text\n" % self._random.randrange(1000)
            return (line * (size // len(line) + 1))[:size]
        return self._random.randbytes(size)

    def optional(self, **values: Any) -> dict[str, Any]:
        """Choose which optional arguments to give."""
        return {name: value for name, value in values.items() if self._random.random() < 0.4}

    def file(self) -> str:
        """Name a local file with a new content."""
        path = self._local / "upload"
        path.write_bytes(self.data())
        return str(path)

    @property
    def target(self) -> str:
        """Name the local file that downloads go to."""
        return str(self._local / "download")


def _calls_on_a_path(*names: str) -> Callable[[Mixture], Call]:
    return lambda mixture: Call(mixture.pick(*names), (mixture.path(),))


def _make(m: Mixture) -> Call:
    # A FIFO has names of its own, for libguestfs's daemon waits at one for ever; device numbers are nobody's.
    fifo = m.path() + ".fifo"
    return m.pick(
        Call("touch", (m.place(),)),
        Call("mkdir", (m.place(),)),
        Call("mkdir", (m.place(),)),
        Call("mkdir_p", (m.place(),)),
        Call("mkdir_mode", (m.place(), m.pick(*_MODES))),
        Call("mknod", (m.pick(_REGULAR, _CHARACTER, _BLOCK, _SOCKET, 0) | m.pick(0o644, 0), 250, 17, m.place())),
        Call("mknod", (_FIFO | 0o600, 0, 0, fifo)),
        Call("mkfifo", (m.pick(*_MODES), fifo)),
        Call(m.pick("is_fifo", "lstatns", "rm"), (fifo,)),
        Call("mknod_b", (m.pick(0o660, _CHARACTER), 250, 300, m.place())),
        Call("mknod_c", (m.pick(0o666, _BLOCK), 250, 3, m.place())),
    )


def _link(m: Mixture) -> Call:
    if m.pick(True, False):
        return Call("ln", (m.path(), m.place()))
    # Relative, and never above the root: libguestfs's daemon runs cp, mv and the like in the appliance's own root. And
    # never where a directory may be: its ln would make the link in there.
    name = m.pick("/link", "/dir/link", "/Dir/link", "/a/link", "/b/a/link", "/nowhere/link")
    up = m.pick("", "../") if name.count("/") > 1 else ""
    target = m.pick("a", "b", "dir", "Dir/a", "nowhere", "a" * m.pick(59, 1000))
    return Call(m.pick("ln_s", "ln_s", "ln_sf"), (up + target, name))


def _move(m: Mixture) -> Call:
    source = m.path()
    if not source.strip("/"):
        source = "/a"  # a copy of the root into itself would fill the disk
    return Call(m.pick("mv", "rename", "rename", "cp", "cp_a", "cp_r"), (source, m.place()))


def _write(m: Mixture) -> Call:
    return m.pick(
        Call("write", (m.path(), m.data())),
        Call("write_append", (m.path(), m.data())),
        Call("pwrite", (m.path(), m.data(), m.pick(0, 1, 5000, 30_000_000, -1))),
        Call("upload", (m.file(), m.path())),
        Call("upload_offset", (m.file(), m.path(), m.pick(0, 17, 100_000))),
        Call("truncate", (m.path(),)),
        Call("truncate_size", (m.path(), m.pick(0, 5, 70_000, 20_000_000, -1))),
        Call("fallocate64", (m.path(), m.pick(1, 100_000, 1 << 40, -1))),
    )


def _copy(m: Mixture) -> Call:
    options = m.optional(
        srcoffset=m.pick(0, 100), destoffset=m.pick(0, 5000), size=m.pick(10, 4096), sparse=True, append=True
    )
    target = m.pick("/copy", "/dir/copy", "/a/copy", "/none/copy")
    return Call("copy_file_to_file", (m.pick("/source", "/source", "/none"), target), options)


def _change(m: Mixture) -> Call:
    seconds = m.pick(0, 1_000_000_000, 1 << 33, -86_400)
    nanoseconds = m.pick(0, 1, 999_999_999, -1, -2, 2_000_000_000)
    return m.pick(
        Call("chmod", (m.pick(*_MODES), m.path())),
        Call(m.pick("chown", "lchown"), (m.pick(0, 1000, -1, 1 << 30), m.pick(0, 1000, -1), m.path())),
        Call("utimens", (m.path(), seconds, nanoseconds, 1_234_567_890, nanoseconds)),
        Call("umask", (m.pick(0o022, 0o022, 0, 0o077, 0o1000, -1),)),
        Call("get_umask"),
    )


def _set_xattr(m: Mixture) -> Call:
    value = m.pick("", "short", "v" * 3000, "v" * 70_000)
    return m.pick(
        Call(m.pick("setxattr", "lsetxattr"), (m.pick(*_XATTRS), value, len(value), m.path())),
        Call(m.pick("removexattr", "lremovexattr"), (m.pick(*_XATTRS), m.path())),
    )


def _get_xattr(m: Mixture) -> Call:
    return m.pick(
        Call(m.pick("getxattr", "lgetxattr"), (m.path(), m.pick(*_XATTRS))),
        Call(m.pick("getxattrs", "lgetxattrs"), (m.path(),)),
        Call("lxattrlist", (m.path(), list(NAMES))),
    )


def _remove(m: Mixture) -> Call:
    path = m.path()
    return Call(m.pick("rm", "rm_f", "rmdir", "rm_rf") if path.strip("/.") else "rmdir", (path,))


def _read(m: Mixture) -> Call:
    return m.pick(
        Call(m.pick("cat", "read_file", "read_lines", "head", "tail"), (m.path(),)),
        Call(m.pick("head_n", "tail_n"), (m.pick(0, 1, 5, -3), m.path())),
        Call("pread", (m.path(), m.pick(0, 1, 4096, 100_000, 4_194_304, -1), m.pick(0, 1, 5000, 1 << 40, -1))),
        Call("download", (m.path(), m.target)),
        Call("download_offset", (m.path(), m.target, m.pick(0, 1, 5000, 1 << 40), m.pick(0, 1, 10_000))),
        Call("filesize", (m.path(),)),
        Call("checksum", (m.pick("crc", "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3"), m.path())),
        Call(m.pick("file", "du"), (m.path(),)),
    )


def _list(m: Mixture) -> Call:
    return m.pick(
        Call(m.pick("ls", "find", "readdir"), (m.path(),)),
        Call(
            "glob_expand", (m.pick("/*", "/dir/*", "/[a-c]", "/nothing*", m.path()),), m.optional(directoryslash=False)
        ),
        Call(m.pick("lstatnslist", "readlinklist"), (m.path(), list(NAMES[: m.pick(1, 5, 10)]))),
        Call("checksums_out", (m.pick("md5", "sha256"), m.path(), m.target)),
    )


def _device(m: Mixture) -> Call:
    device = m.pick("/dev/sdb", "/dev/sdb", "/dev/sdb1", "/dev/sdb2", "/dev/sdz", "/dev/null", "sdb")  # sdc is for LVM
    number = m.pick(1, 1, 2, 5)
    return m.pick(
        Call("part_init", (device, m.pick("gpt", "mbr", "nonsense"))),
        Call("part_disk", (device, m.pick("gpt", "mbr"))),
        Call("part_add", (device, "p", m.pick(2048, 20_480, 0), m.pick(20_479, 40_959, -34, -100))),
        Call("part_del", (device, number)),
        Call(m.pick("part_list", "part_get_parttype", "part_to_dev", "part_to_partnum"), (device,)),
        Call(m.pick("part_get_bootable", "part_get_name", "part_get_gpt_type", "part_get_mbr_id"), (device, number)),
        Call("part_set_bootable", (device, number, m.pick(True, False))),
        Call("part_set_name", (device, number, "name")),
        Call(m.pick("blockdev_getsize64", "blockdev_getss", "blockdev_getbsz", "blockdev_getro"), (device,)),
        Call(m.pick("is_whole_device", "device_index", "canonical_device_name", "vfs_type", "vfs_label"), (device,)),
        Call(m.pick("list_devices", "list_partitions", "list_filesystems", "nr_devices", "mounts", "mountpoints")),
        Call("pread_device", (device, m.pick(0, 512, 70_000), m.pick(1 << 25, 1 << 40, -1))),
        Call("pwrite_device", (device, m.data(), m.pick(1 << 25, 1 << 40, -1))),
        Call("drop_caches", (m.pick(1, 2, 3, 7),)),
        Call(m.pick("wipefs", "zero"), (device,)),
        # No type that there is not: libguestfs empties the device before it finds that out, ours does not.
        Call("mkfs", (m.pick("ext2", "ext4", "vfat", "ext3"), device), m.optional(label="a-label", blocksize=4096)),
        Call(m.pick("mount", "mount_ro"), (device, m.pick("/mnt", "/mnt", "/dir", "/none"))),
        Call("umount", (m.pick("/mnt", device),)),
        Call("set_label", (device, "other")),
        Call(m.pick("pvcreate", "lvremove", "pvuuid"), (m.pick("/dev/sdc", device),)),
        Call("vgcreate", ("VG", ["/dev/sdc"])),
        Call("lvcreate", (m.pick("one", "two"), "VG", m.pick(8, 100))),
        Call(m.pick("vgs", "pvs", "lvs", "list_dm_devices", "list_md_devices")),
        Call("vgremove", ("VG",)),
    )


def _test(m: Mixture) -> Call:
    kind = m.pick("is_file", "is_dir", "is_fifo", "is_socket", "is_chardev", "is_blockdev")
    return Call(kind, (m.path(),), m.optional(followsymlinks=m.pick(True, False)))


_WEIGHTS: Final[dict[Callable[[Mixture], Call], int]] = {
    _make: 18,
    _link: 7,
    _move: 6,
    _write: 14,
    _copy: 4,
    _change: 8,
    _set_xattr: 5,
    _get_xattr: 5,
    _remove: 4,
    _read: 12,
    _list: 8,
    _test: 5,
    _device: 20,
    _calls_on_a_path("exists", "is_symlink", "readlink", "realpath", "case_sensitive_path"): 6,
    _calls_on_a_path("statns", "lstatns", "statns", "lstatns", "stat", "lstat", "statvfs"): 10,
}
