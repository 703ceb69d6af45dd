"""libguestfs's library calls our daemon directly, without a virtual machine: every call it has, and what comes back."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from daemon.registry import HANDLERS
from rpc.constants import FIRST_EXTENSION
from rpc.procedures import BY_NUMBER
from tests.interoperability.appliances import without_machine
from tests.interoperability.library import Library, LibraryError, opened
from tools.procedures import import_handlers

pytestmark = pytest.mark.root

import_handlers()
IMPLEMENTED: Final = sorted(BY_NUMBER[number].name for number in HANDLERS if number < FIRST_EXTENSION)
LOCAL: Final = "{local}"
"""Stands for a local file that holds b'local'."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def library(scratch: Path) -> Iterator[Library]:
    """Launch a handle whose guest is a directory."""
    (scratch / "root").mkdir()
    with opened(without_machine(scratch / "root", scratch)) as handle:
        handle.add_drive_ro("/dev/null")
        handle.launch()
        yield handle
        handle.shutdown()


@pytest.fixture
def root(scratch: Path) -> Path:
    """Fill the guest's root anew."""
    root = scratch / "root"
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (root / "hello").write_bytes(b"hello, world\n")
    (root / "lines").write_bytes(b"one\ntwo\nthree\n")
    (root / "dir/below").mkdir(parents=True)
    (root / "dir/file").write_bytes(bytes(1000))
    (root / "link").symlink_to("hello")
    (root / "é").touch()
    os.mkfifo(root / "fifo")
    os.setxattr(root / "hello", "user.x", b"value")
    (root / "hello").chmod(0o640)
    (scratch / "local").write_bytes(b"local")
    return root


class Asked(NamedTuple):
    """A call, its arguments, and what it answers."""

    name: str
    arguments: tuple[Any, ...]
    answer: Any
    keywords: dict[str, Any] = {}  # noqa: RUF012 # never changed


ANSWERS: Final = (
    Asked("ping_daemon", (), None),
    Asked("exists", ("/hello",), 1),
    Asked("exists", ("/none",), 0),
    Asked("is_file", ("/link",), 0),
    Asked("is_file", ("/link",), 1, {"followsymlinks": True}),
    Asked("is_dir", ("/dir",), 1),
    Asked("is_fifo", ("/fifo",), 1),
    Asked("is_socket", ("/fifo",), 0),
    Asked("is_chardev", ("/hello",), 0),
    Asked("is_blockdev", ("/hello",), 0),
    Asked("is_symlink", ("/link",), 1),
    Asked("readlink", ("/link",), "hello"),
    Asked("realpath", ("/link",), "/hello"),
    Asked("case_sensitive_path", ("/DIR/BELOW",), "/dir/below"),
    Asked("readlinklist", ("/", ["link", "hello"]), ["hello", ""]),
    Asked("filesize", ("/hello",), 13),
    Asked("ls", ("/",), ["dir", "fifo", "hello", "lines", "link", "é"]),
    Asked("find", ("/dir",), ["/below", "/file"]),
    Asked("glob_expand", ("/l*",), ["/lines", "/link"]),
    Asked("cat", ("/hello",), "hello, world\n"),
    Asked("read_file", ("/hello",), b"hello, world\n"),
    Asked("read_lines", ("/lines",), ["one", "two", "three"]),
    Asked("head", ("/lines",), ["one", "two", "three"]),
    Asked("head_n", (1, "/lines"), ["one"]),
    Asked("tail", ("/lines",), ["one", "two", "three"]),
    Asked("tail_n", (1, "/lines"), ["three"]),
    Asked("pread", ("/hello", 5, 7), b"world"),
    Asked("file", ("/hello",), "ASCII text"),
    Asked("checksum", ("md5", "/hello"), "22c3683b094136c3398391ae71b20f04"),
    Asked("checksum", ("crc", "/hello"), "1398783287"),
    Asked("getxattr", ("/hello", "user.x"), b"value"),
    Asked("lgetxattrs", ("/hello",), [{"attrname": "user.x", "attrval": b"value"}]),
    Asked("umask", (0o022,), 0o022),
    Asked("get_umask", (), 0o022),
    Asked("list_devices", (), []),
    Asked("list_partitions", (), []),
    Asked("nr_devices", (), 0),
    Asked("mounts", (), []),
    Asked("mountpoints", (), []),
    Asked("feature_available", (["linuxxattrs"],), 1),
)


@pytest.mark.parametrize("asked", ANSWERS, ids=lambda asked: f"{asked.name}-{asked.arguments}")
def test_answer(library: Library, root: Path, asked: Asked) -> None:
    assert root
    assert library.call(asked.name, asked.arguments, asked.keywords) == asked.answer


class Done(NamedTuple):
    """A call that changes the guest, and how that shows."""

    name: str
    arguments: tuple[Any, ...]
    shows: Callable[[Path], Any]
    keywords: dict[str, Any] = {}  # noqa: RUF012 # never changed


CHANGES: Final = (
    Done("touch", ("/new",), lambda root: (root / "new").read_bytes() == b""),
    Done("mkdir", ("/new",), lambda root: (root / "new").is_dir()),
    Done("mkdir_p", ("/new/below",), lambda root: (root / "new/below").is_dir()),
    Done("mkdir_mode", ("/new", 0o700), lambda root: (root / "new").stat().st_mode == 0o40700),
    Done("mkdtemp", ("/tmpXXXXXX",), lambda root: len(list(root.glob("tmp??????"))) == 1),
    Done("mknod", (0o100600, 0, 0, "/new"), lambda root: (root / "new").is_file()),
    Done("mkfifo", (0o600, "/new"), lambda root: (root / "new").is_fifo()),
    Done("mknod_b", (0o600, 8, 300, "/new"), lambda root: (root / "new").stat().st_rdev == os.makedev(8, 300)),
    Done("mknod_c", (0o600, 1, 3, "/new"), lambda root: (root / "new").is_char_device()),
    Done("ln", ("/hello", "/new"), lambda root: (root / "new").samefile(root / "hello")),
    Done("ln_f", ("/hello", "/lines"), lambda root: (root / "lines").samefile(root / "hello")),
    Done("ln_s", ("to", "/new"), lambda root: (root / "new").readlink() == Path("to")),
    Done("ln_sf", ("to", "/lines"), lambda root: (root / "lines").readlink() == Path("to")),
    Done("mv", ("/hello", "/dir"), lambda root: (root / "dir/hello").is_file()),
    Done("rename", ("/hello", "/é"), lambda root: (root / "é").stat().st_size == 13),
    Done("cp", ("/hello", "/new"), lambda root: (root / "new").stat().st_size == 13),
    Done("cp_a", ("/hello", "/new"), lambda root: (root / "new").stat().st_mode == 0o100640),
    Done("cp_r", ("/dir", "/new"), lambda root: (root / "new/below").is_dir()),
    Done("rm", ("/hello",), lambda root: not (root / "hello").exists()),
    Done("rm_f", ("/hello",), lambda root: not (root / "hello").exists()),
    Done("rm_rf", ("/dir",), lambda root: not (root / "dir").exists()),
    Done("rmdir", ("/dir/below",), lambda root: not (root / "dir/below").exists()),
    Done("write", ("/new", b"content"), lambda root: (root / "new").read_bytes() == b"content"),
    Done("write_append", ("/hello", b"!"), lambda root: (root / "hello").read_bytes() == b"hello, world\n!"),
    Done("pwrite", ("/hello", b"J", 0), lambda root: (root / "hello").read_bytes() == b"Jello, world\n"),
    Done("upload", (LOCAL, "/new"), lambda root: (root / "new").read_bytes() == b"local"),
    Done("upload_offset", (LOCAL, "/hello", 7), lambda root: (root / "hello").read_bytes() == b"hello, local\n"),
    Done("truncate", ("/hello",), lambda root: (root / "hello").stat().st_size == 0),
    Done("truncate_size", ("/hello", 5), lambda root: (root / "hello").read_bytes() == b"hello"),
    Done("fallocate64", ("/new", 5000), lambda root: (root / "new").stat().st_size == 5000),
    Done("copy_file_to_file", ("/hello", "/new"), lambda root: (root / "new").read_bytes() == b"hello, world\n"),
    Done(
        "copy_file_to_file",
        ("/hello", "/new"),
        lambda root: (root / "new").read_bytes() == b"\0\0world",
        {"srcoffset": 7, "destoffset": 2, "size": 5},
    ),
    Done("chmod", (0o4711, "/hello"), lambda root: (root / "hello").stat().st_mode == 0o104711),
    Done("chown", (12, 34, "/link"), lambda root: (root / "hello").stat().st_gid == 34),
    Done("lchown", (12, 34, "/link"), lambda root: (root / "link").lstat().st_uid == 12),
    Done("utimens", ("/hello", 1, 2, 3, 4), lambda root: (root / "hello").stat().st_mtime_ns == 3_000_000_004),
    Done("setxattr", ("user.y", "v", 1, "/hello"), lambda root: os.getxattr(root / "hello", "user.y") == b"v"),
    Done("lsetxattr", ("trusted.y", "v", 1, "/hello"), lambda root: os.getxattr(root / "hello", "trusted.y") == b"v"),
    Done("removexattr", ("user.x", "/hello"), lambda root: os.listxattr(root / "hello") == []),
    Done("lremovexattr", ("user.x", "/hello"), lambda root: os.listxattr(root / "hello") == []),
    Done("copy_in", (LOCAL, "/dir"), lambda root: (root / "dir/local").read_bytes() == b"local"),
)


@pytest.mark.parametrize("done", CHANGES, ids=lambda done: done.name)
def test_change(library: Library, scratch: Path, root: Path, done: Done) -> None:
    arguments = [str(scratch / "local") if argument == LOCAL else argument for argument in done.arguments]
    library.call(done.name, arguments, done.keywords)
    assert done.shows(root)


def test_what_comes_in_files(library: Library, scratch: Path, root: Path) -> None:
    target = scratch / "target"
    library.download("/lines", str(target))
    assert target.read_bytes() == (root / "lines").read_bytes()
    library.download_offset("/lines", str(target), 4, 3)
    assert target.read_bytes() == b"two"
    library.checksums_out("md5", "/dir", str(target))
    assert target.read_text().split() == [library.checksum("md5", "/dir/file"), "./file"]
    library.copy_out("/dir/file", str(scratch))
    assert (scratch / "file").read_bytes() == bytes(1000)
    library.tar_out("/dir", str(target))
    library.mkdir("/unpacked")
    library.tar_in(str(target), "/unpacked")
    assert (root / "unpacked/file").read_bytes() == bytes(1000)


def test_structures(library: Library, root: Path) -> None:
    info = (root / "hello").stat()
    stat = library.statns("/link")
    assert (stat["st_ino"], stat["st_mode"], stat["st_mtime_nsec"]) == (
        *(info.st_ino, info.st_mode),
        info.st_mtime_ns % 10**9,
    )
    assert [entry["st_size"] for entry in library.lstatnslist("/", ["hello", "none"])] == [13, 0]
    assert {entry["name"]: entry["ftyp"] for entry in library.readdir("/dir")} == {
        ".": "d",
        "..": "d",
        "below": "d",
        "file": "r",
    }
    assert library.statvfs("/")["namemax"] == 255
    assert library.utsname()["uts_sysname"] == "Linux"
    assert [entry["attrname"] for entry in library.lxattrlist("/", ["hello", "lines"])] == ["", "user.x", ""]


PLACE: Final = "{place}"
"""Stands for a file, a directory, or what is not there."""
FILLERS: Final[dict[str, Any]] = {
    "str": "x",
    "optstr": None,
    "key": "key",
    "guid": "x",
    "name": "hello",
    "path": PLACE,
    "dev": "/dev/sda",
    "mnt": "/dev/sda",
    "dev|path": PLACE,
    "mnt|path": PLACE,
    "buf": b"content",
    "bool": True,
    "i32": 1,
    "i64": 1,
    "str[]": ["x", "y"],
    "name[]": ["hello"],
    "dev[]": ["/dev/sda"],
    "path[]": [PLACE],
    "FILEIN": LOCAL,
    "FILEOUT": "/dev/null",
}
WITHIN: Final = {
    "internal_autosync": "shutdown",
    "internal_feature_available": "feature_available",
    "internal_list_rpm_applications": "inspect_list_applications2",
    "internal_lstatnslist": "lstatnslist",
    "internal_lxattrlist": "lxattrlist",
    "internal_parse_mountable": "mountable_device",
    "internal_readlinklist": "readlinklist",
    "internal_write": "write",
    "internal_write_append": "write_append",
}
"""Calls of the daemon that only the library itself makes, and the call of its that does."""
LATER: Final = {
    "btrfs_scrub_full",
    "command_out",
    "findfs_partlabel",
    "findfs_partuuid",
    "inspect_get_build_id",
    "internal_readdir",
    "ntfs_chmod",
    "sh_out",
}
"""Calls that libguestfs 1.48 does not have yet."""

NOT_UNDERSTOOD: Final = ("not known to this daemon", "decode", "arguments", "a bug in guestfsd")
FILLS_DISKS: Final = {"zero_free_space", "fstrim"}
"""Calls that would act on this machine's disk, where the guest's root is."""
_SUCCEED: Final = """
    available_all_groups base64_out case_sensitive_path chmod chown copy_attributes copy_file_to_file copy_size
    dd df df_h dmesg download download_offset du echo_daemon equal exists fallocate fallocate64 file filesize
    filesystem_available fill fill_dir fill_pattern find0 get_umask getxattrs glob_expand head head_n
    inspect_get_roots inspect_os is_blockdev is_chardev is_dir is_fifo is_file is_socket is_symlink is_zero
    lchown lgetxattrs list_9p list_devices list_disk_labels list_dm_devices list_filesystems list_ldm_partitions
    list_ldm_volumes list_md_devices list_partitions ll llz ln_s ln_sf ls0 lstatns lvs lvs_full mkdir_p
    mountpoints mounts nr_devices ping_daemon pread pvs pvs_full pwrite readdir realpath rename rm rm_f rm_rf
    sleep statns statvfs tail tail_n tgz_out touch truncate truncate_size txz_out umask umount_all upload
    upload_offset utimens utsname vgs vgs_full vgscan wc_c wc_l wc_w write_file xfs_repair
"""
SUCCEED: Final = frozenset(_SUCCEED.split())
"""Calls that succeed with a file or a directory; the others need a device, a key, an archive."""
LOOK_AT_ALL_MOUNTS: Final = {"df", "df_h"}
"""Calls that fail while any mount of this machine is dead, as one of a test beside this one may be."""
_WHOLE_MACHINE: Final = """
    sync drop_caches lvm_remove_all pvchange_uuid_all vgchange_uuid_all vg_activate_all lvm_scan
    lvm_clear_filter lvm_set_filter
"""
WHOLE_MACHINE: Final = frozenset(_WHOLE_MACHINE.split())
"""Calls that would act on this machine; the scripts make them in an appliance."""


def _signatures() -> dict[str, list[str]]:
    table = Path(__file__).parents[1] / "guestfs-procedures.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines() if line[:1].isdigit()]
    return {row[1]: [argument.split(":")[1] for argument in row[2].split(", ") if argument] for row in rows}


SIGNATURES: Final = _signatures()


@pytest.mark.parametrize("name", [name for name in IMPLEMENTED if name not in WITHIN.keys() | LATER | WHOLE_MACHINE])
def test_every_call_is_understood(library: Library, scratch: Path, root: Path, name: str) -> None:
    """Its arguments arrive, and the answer, be it an error, is one that the library understands.

    It does not tell whether the call does anything: that is for ANSWERS, CHANGES, the scripts, and tests/daemon.
    """
    assert root
    succeeded = False
    for place in ("/none/there",) if name in FILLS_DISKS else ("/none/there", "/hello", "/dir"):
        said = _complaint(library, name, [_filled(kind, scratch, place) for kind in SIGNATURES[name]])
        assert not any(text in said for text in NOT_UNDERSTOOD)
        succeeded = succeeded or not said
        library.ping_daemon()
    assert succeeded == (name in SUCCEED) or name in LOOK_AT_ALL_MOUNTS


def _filled(kind: str, scratch: Path, place: str) -> Any:
    filler = FILLERS[kind]
    if filler == LOCAL:
        return str(scratch / "local")
    if filler == [PLACE]:
        return [place]
    return place if filler == PLACE else filler


def _complaint(library: Library, name: str, arguments: list[Any]) -> str:
    try:
        library.call(name, arguments)
    except LibraryError as exc:
        return exc.message
    return ""


def test_calls_that_the_library_makes_by_itself_are_made_here() -> None:
    made = {asked.name for asked in ANSWERS} | {done.name for done in CHANGES}
    apart = {"inspect_list_applications2", "shutdown", "lstatnslist", "lxattrlist", "mountable_device"}
    assert set(WITHIN.values()) <= made | apart
