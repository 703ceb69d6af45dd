"""Names made, linked, renamed and removed."""

import os
import stat
import time
from pathlib import Path

import pytest

from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.procedures import (
    LN,
    LN_F,
    LN_S,
    LN_SF,
    MKDIR,
    MKDIR_MODE,
    MKDIR_P,
    MKDTEMP,
    MKFIFO,
    MKNOD,
    MKNOD_B,
    MKNOD_C,
    MKTEMP,
    RENAME,
    RM,
    RM_F,
    RMDIR,
    TOUCH,
    UMASK,
)
from rpc.procedures.names import (
    ChmodArgs,
    LnArgs,
    MkdirModeArgs,
    MkdtempArgs,
    MknodArgs,
    MktempArgs,
    RenameArgs,
    UmaskArgs,
)
from tests.daemon.guestfsd import Guestfsd, names_in

NEW = GuestPath(b"/new")


def path(text: str) -> PathArgs:
    return PathArgs(GuestPath(os.fsencode(text)))


def test_mkdir_minds_the_umask(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(MKDIR, PathArgs(NEW))
    assert (guest / "new").stat().st_mode == 0o40755
    daemon.call(UMASK, UmaskArgs(0o27))
    daemon.call(MKDIR_MODE, MkdirModeArgs(GuestPath(b"/other"), 0o1777))
    assert (guest / "other").stat().st_mode == 0o41750
    assert daemon.error(MKDIR, PathArgs(NEW)) == ("EEXIST", "/new: File exists")
    assert daemon.error(MKDIR, path("/none/new"))[0] == "ENOENT"
    assert daemon.error(MKDIR_MODE, MkdirModeArgs(NEW, -1)) == ("", "mode -1 is negative")


def test_mkdir_p_makes_what_is_missing(daemon: Guestfsd, guest: Path) -> None:
    for name in ("/a/b/c", "/a/b/c", "/a/b/d/", "/"):
        daemon.call(MKDIR_P, path(name))
    assert names_in(guest / "a/b") == ["c", "d"]
    (guest / "way").symlink_to("/a")
    daemon.call(MKDIR_P, path("/way/e/f"))
    assert (guest / "a/e/f").is_dir()


@pytest.mark.parametrize("name", ["/hello", "/hello/x", "/dangling", "/dangling/x"])
def test_mkdir_p_through_what_is_no_directory(daemon: Guestfsd, name: str) -> None:
    assert daemon.error(MKDIR_P, path(name))[0] == "ENOTDIR"


def test_mkdtemp_and_mktemp_fill_the_template_in(daemon: Guestfsd, guest: Path) -> None:
    made = [daemon.call(MKDTEMP, MkdtempArgs(GuestPath(b"/sub/dXXXXXX"))) for _ in range(3)]
    assert len(set(made)) == 3
    assert all(name.startswith("/sub/d") and len(name) == len("/sub/dXXXXXX") for name in made)
    assert {(guest / name[1:]).stat().st_mode for name in made} == {0o40700}
    file = daemon.call(MKTEMP, MktempArgs(GuestPath(b"/sub/fXXXXXX"), ".txt"))
    assert file.endswith(".txt")
    assert (guest / file[1:]).stat().st_mode == 0o100600
    assert (guest / daemon.call(MKTEMP, MktempArgs(GuestPath(b"/sub/fXXXXXX")))[1:]).stat().st_size == 0
    assert daemon.error(MKDTEMP, MkdtempArgs(GuestPath(b"/sub/d")))[0] == "EINVAL"
    assert daemon.error(MKTEMP, MktempArgs(GuestPath(b"/none/XXXXXX")))[0] == "ENOENT"


def test_mknod_makes_what_the_mode_says(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(MKNOD, MknodArgs(0o100666, 0, 0, GuestPath(b"/file")))
    daemon.call(MKNOD, MknodArgs(stat.S_IFSOCK | 0o600, 0, 0, GuestPath(b"/sock")))
    daemon.call(MKNOD, MknodArgs(stat.S_IFCHR | 0o600, 1, 7, GuestPath(b"/full")))
    daemon.call(MKNOD_B, MknodArgs(0o640, 8, 300, GuestPath(b"/block")))
    daemon.call(MKNOD_C, MknodArgs(0o620, 5, 1, GuestPath(b"/char")))
    daemon.call(MKFIFO, ChmodArgs(0o644, GuestPath(b"/pipe")))
    found = {name: (guest / name).stat() for name in ("file", "sock", "full", "block", "char", "pipe")}
    assert {name: info.st_mode for name, info in found.items()} == {
        "file": 0o100644,
        "sock": 0o140600,
        "full": 0o20600,
        "block": 0o60640,
        "char": 0o20600,
        "pipe": 0o10644,
    }
    numbers = {name: (os.major(info.st_rdev), os.minor(info.st_rdev)) for name, info in found.items()}
    assert (numbers["full"], numbers["block"], numbers["char"]) == ((1, 7), (8, 300), (5, 1))


def test_mknod_refuses(daemon: Guestfsd) -> None:
    assert daemon.error(MKNOD, MknodArgs(-1, 0, 0, NEW)) == ("", "mode -1 is negative")
    assert daemon.error(MKNOD, MknodArgs(0o20600, -1, 0, NEW))[0] == "EINVAL"
    assert daemon.error(MKNOD_C, MknodArgs(0o600, 1, 1 << 20, NEW))[0] == "EINVAL"
    assert daemon.error(MKNOD_B, MknodArgs(0o60600, 1, 1, NEW)) == ("", "mode 060600 is more than permission bits")
    assert daemon.error(MKFIFO, ChmodArgs(0o10600, NEW))[0] == ""
    assert daemon.error(MKNOD, MknodArgs(0o100600, 0, 0, GuestPath(b"/hello")))[0] == "EEXIST"


def test_ln_links_the_file_or_the_link_itself(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(LN, LnArgs("/hello", NEW))
    assert (guest / "new").samefile(guest / "hello")
    daemon.call(LN, LnArgs("/dangling", GuestPath(b"/other")))
    assert (guest / "other").readlink() == Path("nowhere")
    assert daemon.error(LN, LnArgs("/hello", NEW))[0] == "EEXIST"
    assert daemon.error(LN, LnArgs("/none", GuestPath(b"/third")))[0] == "ENOENT"


def test_ln_f_replaces_but_loses_nothing(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(LN_F, LnArgs("/hello", GuestPath(b"/sub/inner")))
    assert (guest / "sub/inner").read_bytes() == b"hello, world\n"
    daemon.call(LN_F, LnArgs("/hello", GuestPath(b"/hello")))
    assert (guest / "hello").exists()
    assert daemon.error(LN_F, LnArgs("/none", GuestPath(b"/hello")))[0] == "ENOENT"
    assert (guest / "hello").exists()
    for target in ("/hello", "/sub"):
        assert daemon.error(LN_F, LnArgs(target, GuestPath(b"/sub")))[0] == "EEXIST"


def test_link_that_cannot_be_made_replaces_nothing(daemon: Guestfsd, guest: Path) -> None:
    """A directory cannot be linked, which shows only when what is in the way is gone, or has another name."""
    before = names_in(guest)
    assert daemon.error(LN_F, LnArgs("/sub", GuestPath(b"/hello")))[0] == "EPERM"
    assert daemon.error(LN_SF, LnArgs("x" * 5000, GuestPath(b"/hello")))[0] == "ENAMETOOLONG"
    assert daemon.error(LN_SF, LnArgs("", GuestPath(b"/hello")))[0] == "ENOENT"
    assert (guest / "hello").read_bytes() == b"hello, world\n"
    assert names_in(guest) == before
    long = GuestPath(b"/" + b"n" * 255)
    for _ in range(2):
        daemon.call(LN_F, LnArgs("/hello", long))
        daemon.call(LN_SF, LnArgs("x", GuestPath(b"/link")))
    assert names_in(guest) == sorted([*before, "n" * 255])


def test_ln_s_has_an_errno(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(LN_S, LnArgs("../any thing", NEW))
    assert (guest / "new").readlink() == Path("../any thing")
    assert daemon.error(LN_S, LnArgs("x", NEW))[0] == "EEXIST"
    assert daemon.error(LN_S, LnArgs("x", GuestPath(b"/none/x")))[0] == "ENOENT"
    daemon.call(LN_S, LnArgs("/far/away/", GuestPath(b"/sub")))
    assert (guest / "sub/away").readlink() == Path("/far/away")


def test_ln_sf_replaces(daemon: Guestfsd, guest: Path) -> None:
    for target in ("one", "two"):
        daemon.call(LN_SF, LnArgs(target, GuestPath(b"/hello")))
        assert (guest / "hello").readlink() == Path(target)
    daemon.call(LN_SF, LnArgs("/x/inner", GuestPath(b"/sub")))
    assert (guest / "sub/inner").readlink() == Path("/x/inner")


def test_rename_replaces(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(RENAME, RenameArgs(GuestPath(b"/hello"), GuestPath(b"/sub/inner")))
    assert not (guest / "hello").exists()
    assert (guest / "sub/inner").read_bytes() == b"hello, world\n"
    assert daemon.error(RENAME, RenameArgs(GuestPath(b"/none"), NEW))[0] == "ENOENT"
    assert daemon.error(RENAME, RenameArgs(GuestPath(b"/fifo"), GuestPath(b"/sub")))[0] == "EISDIR"


def test_rm_and_rmdir(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(RM, path("/link"))
    daemon.call(RM_F, path("/hello"))
    daemon.call(RM_F, path("/hello"))
    daemon.call(RM_F, path("/none/x"))
    assert not (guest / "link").is_symlink()
    assert not (guest / "hello").exists()
    assert (guest / "sub/inner").exists()
    calls = ((RM, "/hello"), (RM, "/sub"), (RM_F, "/sub"), (RMDIR, "/sub"), (RMDIR, "/fifo"), (RMDIR, "/x"))
    assert [daemon.error(row, path(name))[0] for row, name in calls] == [
        *("ENOENT", "EISDIR", "EISDIR", "ENOTEMPTY", "ENOTDIR", "ENOENT")
    ]
    daemon.call(RM, path("/sub/inner"))
    daemon.call(RMDIR, path("/sub"))
    assert not (guest / "sub").exists()


def test_touch_makes_a_file_or_renews_its_times(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(TOUCH, PathArgs(NEW))
    assert (guest / "new").stat().st_size == 0
    os.utime(guest / "hello", (1, 1))
    daemon.call(TOUCH, path("/hello"))
    assert abs((guest / "hello").stat().st_mtime - time.time()) < 60
    assert (guest / "hello").read_bytes() == b"hello, world\n"
    assert daemon.error(TOUCH, path("/none/x"))[0] == "ENOENT"


@pytest.mark.parametrize("name", ["/sub", "/link", "/dangling", "/fifo", "/null"])
def test_touch_refuses_all_but_regular_files(daemon: Guestfsd, name: str) -> None:
    assert daemon.error(TOUCH, path(name)) == ("", f"{name}: only a regular file can be touched")


def test_names_do_not_lead_out(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "out").symlink_to("/".join([".."] * 30) + str(tmp_path))
    before = names_in(tmp_path)
    made = [
        daemon.error(MKDIR, path("/out/x"))[0],
        daemon.error(TOUCH, path("/out/x"))[0],
        daemon.error(LN, LnArgs("/out/secret", NEW))[0],
        daemon.error(LN, LnArgs(f"..{tmp_path}/secret", NEW))[0],
        daemon.error(LN_S, LnArgs("x", GuestPath(b"/out/x")))[0],
        daemon.error(RENAME, RenameArgs(GuestPath(b"/out/secret"), NEW))[0],
        daemon.error(RENAME, RenameArgs(GuestPath(b"/hello"), GuestPath(b"/out/x")))[0],
        daemon.error(RM, path("/out/secret"))[0],
        daemon.error(MKNOD, MknodArgs(0o100600, 0, 0, GuestPath(b"/out/x")))[0],
        daemon.error(MKTEMP, MktempArgs(GuestPath(b"/out/XXXXXX")))[0],
    ]
    assert set(made) == {"ENOENT"}
    assert names_in(tmp_path) == before
    daemon.call(MKDIR_P, path("/sub/../../../../../../../../../../beside"))
    assert (guest / "beside").is_dir()
