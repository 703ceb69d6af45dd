"""Names: too long, of any bytes, through links that lead round and round, below what is no directory."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from tests.posix.syscalls import refused

LONGEST: Final = "n" * 255
TOO_LONG: Final = "n" * 256

ON_ONE_NAME: Final[dict[str, Callable[[str], object]]] = {
    "create": lambda name: os.open(name, os.O_CREAT | os.O_WRONLY),
    "open": lambda name: os.open(name, os.O_RDONLY),
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "symlink": lambda name: os.symlink("target", name),
    "mkfifo": os.mkfifo,
    "lstat": os.lstat,
    "readlink": os.readlink,
    "chmod": lambda name: os.chmod(name, 0o600),
    "lchown": lambda name: os.lchown(name, 1, 1),
    "truncate": lambda name: os.truncate(name, 1),
    "utime": lambda name: os.utime(name, (1, 1)),
    "listxattr": os.listxattr,
    "setxattr": lambda name: os.setxattr(name, "user.a", b"a"),
    "link from": lambda name: os.link(name, "other"),
    "link to": lambda name: os.link("file", name),
    "rename from": lambda name: os.rename(name, "other"),
    "rename to": lambda name: os.rename("file", name),
}
CREATING: Final = ("create", "mkdir", "symlink", "mkfifo", "link to", "rename to")


@pytest.fixture(autouse=True)
def inside(place: Path) -> None:
    """Work in the directory, where there is one file."""
    os.chdir(place)
    Path("file").touch()


def outcomes(name: str, calls: Iterable[str] = ON_ONE_NAME) -> dict[str, str]:
    """Make each call on a name, and return the name of its error, or what it returned."""
    found = {}
    for call in calls:
        try:
            found[call] = repr(ON_ONE_NAME[call](name))
        except OSError as exc:
            found[call] = errno.errorcode[exc.errno or 0]
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (TOO_LONG, "ENAMETOOLONG"),
        ("./" * 2048 + "x", "ENAMETOOLONG"),
        ("file/below", "ENOTDIR"),
        ("missing/below", "ENOENT"),
        ("loop/below", "ELOOP"),
        ("", "ENOENT"),
    ],
    ids=["long name", "long path", "below a file", "below nothing", "through a loop", "empty"],
)
def test_names_that_no_call_takes(name: str, expected: str) -> None:
    Path("loop").symlink_to("loop")
    assert outcomes(name) == dict.fromkeys(ON_ONE_NAME, expected)
    assert sorted(os.listdir()) == ["file", "loop"]


def test_name_of_255_bytes_and_of_any_bytes_is_taken() -> None:
    for name in (LONGEST, "\n", "-rf", "a b ", "\\", os.fsdecode(b"\xff\xfe\x80"), "Grüße", "...", "a:b"):
        for call in CREATING:
            Path("file").touch()
            made = ON_ONE_NAME[call](name)
            if isinstance(made, int):
                os.close(made)
            assert os.fsencode(name) in os.listdir(b"."), call
            os.rmdir(name) if call == "mkdir" else os.unlink(name)
            assert not os.path.lexists(name)


def test_name_that_is_missing() -> None:
    calls = [name for name in ON_ONE_NAME if name not in CREATING]
    assert outcomes("missing", calls) == dict.fromkeys(calls, "ENOENT")


def test_link_that_leads_to_itself_at_the_end_of_a_path() -> None:
    Path("one").symlink_to("two")
    Path("two").symlink_to("one")
    for call in ("open", "create", "chmod", "truncate", "utime", "setxattr"):
        with refused(errno.ELOOP):
            ON_ONE_NAME[call]("one")
    with refused(errno.ELOOP):
        os.open("one", os.O_RDONLY | os.O_NOFOLLOW)


def test_chain_of_40_links_is_followed_and_one_of_41_is_not() -> None:
    Path("0").symlink_to("file")
    for number in range(1, 41):
        Path(str(number)).symlink_to(str(number - 1))
    os.close(os.open("39", os.O_WRONLY))
    with refused(errno.ELOOP):
        os.open("40", os.O_WRONLY)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "fifo"])
def test_name_that_is_there_already(kind: str) -> None:
    match kind:
        case "file":
            Path("there").write_bytes(b"kept")
        case "directory":
            Path("there").mkdir()
        case "link":
            Path("there").symlink_to("file")
        case "dangling":
            Path("there").symlink_to("nowhere")
        case _:
            os.mkfifo("there")
    before = os.lstat("there")
    calls = ("mkdir", "symlink", "mkfifo", "link to")
    assert outcomes("there", calls) == dict.fromkeys(calls, "EEXIST")
    with refused(errno.EEXIST):
        os.open("there", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert os.lstat("there").st_ino == before.st_ino
    assert not os.path.lexists("nowhere")


@pytest.mark.parametrize("name", [".", "..", "file/."])
def test_names_that_no_call_may_make_or_take_away(name: str) -> None:
    expected = {".": errno.EINVAL, "..": errno.ENOTEMPTY, "file/.": errno.ENOTDIR}[name]
    with refused(expected):
        os.rmdir(name)
    with refused(errno.EEXIST, errno.ENOTDIR):
        os.mkdir(name)
    with refused(errno.EBUSY, errno.ENOTDIR):
        os.rename(name, "other")


def test_slash_at_the_end() -> None:
    with refused(errno.ENOTDIR):
        os.unlink("file/")
    with refused(errno.EISDIR):
        os.open("new/", os.O_CREAT | os.O_WRONLY)
    os.mkdir("new/")
    with refused(errno.ENOTDIR):
        os.rename("file", "other/")
    os.rename("new/", "newer/")
    assert sorted(os.listdir()) == ["file", "newer"]


def test_dangling_link_is_created_through_unless_exclusively() -> None:
    Path("link").symlink_to("behind")
    os.close(os.open("link", os.O_CREAT | os.O_WRONLY, 0o640))
    assert os.lstat("behind").st_mode == 0o100640
    assert os.readlink("link") == "behind"


@pytest.mark.parametrize("length", [1, 59, 60, 61, 1000, 1023])
def test_symlink_keeps_targets_of_any_length(length: int) -> None:
    target = b"\xff" + b"t" * (length - 1)
    os.symlink(target, b"link")
    assert os.readlink(b"link") == target
    assert os.lstat("link").st_size == length


def test_symlink_target_of_4096_bytes_is_too_long_and_none_is_missing() -> None:
    with refused(errno.ENAMETOOLONG):
        os.symlink("t" * 4096, "link")
    with refused(errno.ENOENT):
        os.symlink("", "link")
    with refused(errno.EINVAL):
        os.readlink("file")
