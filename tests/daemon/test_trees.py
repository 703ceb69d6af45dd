"""Trees copied, moved, removed, measured and listed by the programs for that."""

import os
import subprocess
from pathlib import Path

import pytest

from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.procedure import Procedure
from rpc.procedures import CP, CP_A, CP_R, DU, LL, LLZ, MV, RM_RF, UMASK
from rpc.procedures.directories import Find0Args
from rpc.procedures.names import MvArgs, UmaskArgs
from tests.daemon.guestfsd import Guestfsd, names_in


def pair(src: str, dest: str) -> MvArgs:
    return MvArgs(GuestPath(src.encode()), GuestPath(dest.encode()))


@pytest.fixture
def tree(guest: Path) -> Path:
    tree = guest / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_bytes(os.urandom(50_000))
    (tree / "deep/file").chmod(0o4711)
    os.chown(tree / "deep/file", 7, 8)
    (tree / "deep/file").chmod(0o4711)
    os.utime(tree / "deep/file", (1, 2))
    os.setxattr(tree / "deep/file", "user.a", b"b")
    (tree / "link").symlink_to("deep/file")
    os.mkfifo(tree / "fifo")
    return tree


def test_cp_copies_a_file_through_links(daemon: Guestfsd, guest: Path) -> None:
    daemon.call(CP, pair("/link", "/copy"))
    assert (guest / "copy").read_bytes() == b"inner"
    assert not (guest / "copy").is_symlink()
    daemon.call(CP, pair("/hello", "/link"))
    assert (guest / "sub/inner").read_bytes() == b"hello, world\n"
    (guest / "way").symlink_to("/sub")
    daemon.call(CP, pair("/hello", "/way"))
    assert (guest / "sub/hello").exists()
    daemon.call(UMASK, UmaskArgs(0o77))
    daemon.call(CP, pair("/hello", "/private"))
    assert (guest / "private").stat().st_mode == 0o100600


@pytest.mark.parametrize(
    ("src", "dest", "text"),
    [
        ("/none", "/x", "cp: cannot stat '/none': No such file or directory"),
        ("/sub", "/x", "cp: -r not specified; omitting directory '/sub'"),
        ("/hello", "/dangling", "cp: not writing through dangling symlink '/dangling'"),
    ],
)
def test_cp_says_what_is_wrong(daemon: Guestfsd, src: str, dest: str, text: str) -> None:
    assert daemon.error(CP, pair(src, dest)) == ("", text)


@pytest.mark.parametrize(("src", "dest"), [("/fifo", "/x"), ("/hello", "/fifo"), ("/null", "/x"), ("/hello", "/null")])
def test_copy_waits_for_no_fifo_and_reads_no_device(daemon: Guestfsd, src: str, dest: str) -> None:
    assert daemon.error(CP, pair(src, dest))[0] == "EINVAL"
    if src == "/hello":
        assert daemon.error(CP_A, pair(src, dest))[0] == daemon.error(CP_R, pair(src, dest))[0] == "EINVAL"


def test_cp_a_keeps_everything(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    daemon.call(CP_A, pair("/tree", "/copy"))
    old, new = (tree / "deep/file").stat(), (guest / "copy/deep/file").stat()
    assert (old.st_mode, old[4:6], old.st_mtime) == (new.st_mode, new[4:6], new.st_mtime)
    assert (guest / "copy/deep/file").read_bytes() == (tree / "deep/file").read_bytes()
    assert os.listxattr(guest / "copy/deep/file") == ["user.a"]
    assert (guest / "copy/link").readlink() == Path("deep/file")
    assert (guest / "copy/fifo").is_fifo()
    daemon.call(CP_A, pair("/dangling", "/other"))
    assert (guest / "other").readlink() == Path("nowhere")


def test_cp_r_keeps_the_shape(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    daemon.call(CP_R, pair("/tree", "/sub"))
    new = (guest / "sub/tree/deep/file").stat()
    assert (new.st_mode & 0o7000, new.st_uid) == (0, 0)
    assert (guest / "sub/tree/deep/file").read_bytes() == (tree / "deep/file").read_bytes()
    assert (guest / "sub/tree/link").is_symlink()
    assert (guest / "sub/tree/fifo").is_fifo()


def test_link_copied_onto_a_link_replaces_the_link(daemon: Guestfsd, guest: Path) -> None:
    """Were the destination followed, the file would become a link to itself."""
    assert daemon.error(CP_A, pair("/link", "/link"))[0] == ""
    assert (guest / "sub/inner").read_bytes() == b"inner"
    daemon.call(CP_R, pair("/dangling", "/link"))
    assert (guest / "link").readlink() == Path("nowhere")
    assert (guest / "sub/inner").read_bytes() == b"inner"


@pytest.mark.parametrize("procedure", [CP_A, CP_R])
def test_file_copied_onto_a_link_is_written_through_it(
    daemon: Guestfsd, guest: Path, procedure: Procedure[MvArgs, None]
) -> None:
    daemon.call(procedure, pair("/hello", "/link"))
    assert (guest / "link").is_symlink()
    assert (guest / "sub/inner").read_bytes() == b"hello, world\n"


def test_mv_moves_onto_and_into(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    daemon.call(MV, pair("/hello", "/link"))
    assert (guest / "link").read_bytes() == b"hello, world\n"
    assert (guest / "sub/inner").read_bytes() == b"inner"
    (guest / "way").symlink_to("/sub")
    daemon.call(MV, pair("/tree", "/way"))
    assert (guest / "sub/tree/deep/file").stat().st_mode == 0o104711
    assert not tree.exists()
    daemon.call(MV, pair("/dangling", "/moved"))
    assert (guest / "moved").readlink() == Path("nowhere")
    assert daemon.error(MV, pair("/none", "/x")) == ("", "mv: cannot stat '/none': No such file or directory")
    assert daemon.error(MV, pair("/sub", "/sub/x"))[0] == ""


def test_rm_rf_removes_a_tree_and_is_content_with_nothing(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    (guest / "way").symlink_to("/sub")
    for name in ("/tree", "/tree", "/hello/x", "/way"):
        daemon.call(RM_RF, PathArgs(GuestPath(name.encode())))
    assert not tree.exists()
    assert not (guest / "way").is_symlink()
    assert (guest / "sub/inner").exists()
    for name in ("/", "//", "/.", "/sub/..", "/sub/."):
        assert daemon.error(RM_RF, PathArgs(GuestPath(name.encode())))[0] == "EBUSY"


@pytest.mark.parametrize("name", ["/none/../sub", "/hello/../sub", "/none/x", "/hello/x"])
def test_path_through_a_missing_directory_leads_nowhere(daemon: Guestfsd, guest: Path, name: str) -> None:
    daemon.call(RM_RF, PathArgs(GuestPath(name.encode())))
    assert (guest / "sub/inner").exists()
    errno_name = "ENOTDIR" if name.startswith("/hello") else "ENOENT"
    for procedure, args in (
        (DU, PathArgs(GuestPath(name.encode()))),
        (CP_R, pair(name, "/x")),
        (MV, pair("/fifo", name)),
    ):
        assert daemon.error(procedure, args)[0] == errno_name


def test_link_with_a_slash_is_neither_removed_nor_moved_nor_copied(daemon: Guestfsd, guest: Path) -> None:
    (guest / "way").symlink_to("/sub")
    for procedure in (MV, CP_A, CP_R):
        assert daemon.error(procedure, pair("/way/", "/new"))[0] == "ENOTDIR"
    assert daemon.error(RM_RF, PathArgs(GuestPath(b"/way/")))[0] == "ENOTDIR"
    assert (guest / "way").is_symlink()
    assert names_in(guest / "sub") == ["inner"]
    assert daemon.call(DU, PathArgs(GuestPath(b"/way/"))) == daemon.call(DU, PathArgs(GuestPath(b"/sub")))


def test_dots_are_not_moved_but_what_is_in_them_is_copied(daemon: Guestfsd, guest: Path) -> None:
    for name in ("/sub/.", "/sub/..", "/"):
        assert daemon.error(MV, pair(name, "/new"))[0] == "EBUSY"
    (guest / "new").mkdir()
    daemon.call(CP_R, pair("/sub/.", "/new"))
    assert names_in(guest / "new") == ["inner"]
    daemon.call(CP_A, pair("/sub/", "/new/"))
    assert names_in(guest / "new") == ["inner", "sub"]


def test_du_counts_kibibytes(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    for name in ("tree", "hello", ""):
        output = subprocess.run(["du", "-s", "-k", guest / name], capture_output=True, check=True).stdout
        assert daemon.call(DU, PathArgs(GuestPath(f"/{name}".encode()))) == int(output.split()[0])
    assert daemon.error(DU, PathArgs(GuestPath(b"/none"))) == (
        "",
        "du: cannot access '/none': No such file or directory",
    )


def test_ll_lists_as_ls_does(daemon: Guestfsd, guest: Path, tree: Path) -> None:
    (guest / "way").symlink_to("/tree")
    output = subprocess.run(["ls", "-la", tree], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    for name in (b"/tree", b"/way"):
        assert daemon.call(LL, Find0Args(GuestPath(name))) == output.decode()
    assert " ? " in daemon.call(LLZ, Find0Args(GuestPath(b"/tree")))
    for procedure in (LL, LLZ):
        assert daemon.error(procedure, Find0Args(GuestPath(b"/none")))[0] == "ENOENT"


def test_links_in_the_way_lead_to_the_guests_own(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    """The same link leads to the host's secret outside the guest's root."""
    (guest / "out").symlink_to("/".join([".."] * 30) + str(tmp_path))
    assert daemon.error(CP, pair("/out/secret", "/copy"))[0] == "ENOENT"
    assert daemon.error(CP, pair("/hello", "/out/planted"))[0] == "ENOENT"
    daemon.call(RM_RF, PathArgs(GuestPath(b"/out/secret")))
    assert (tmp_path / "secret").exists()
    inside = guest / tmp_path.relative_to("/")
    inside.mkdir(parents=True)
    daemon.call(CP, pair("/hello", "/out/planted"))
    daemon.call(MV, pair("/out/planted", "/out/moved"))
    assert (inside / "moved").read_bytes() == b"hello, world\n"
    assert names_in(tmp_path) == ["guest", "secret"]
