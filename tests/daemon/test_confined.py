"""Programs of the appliance at work on a guest's tree that would mislead them."""

import io
import os
import secrets
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.confined import argument, feed_confined, located, run_confined, stream_confined
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import ProcedureError
from rpc.procedures import CP_R, RM_RF, TAR_IN, TAR_OUT
from rpc.procedures.archives import TarInArgs, TarOutArgs
from rpc.procedures.names import MvArgs
from tests.daemon.guestfsd import Guestfsd, started


@pytest.fixture
def session(guest: Path) -> Session:
    return Session(Sysroot(os.fsencode(guest), is_plain_directory=True))


def test_program_works_in_the_guests_directory(session: Session) -> None:
    assert run_confined(session, ["cat", "inner"], b"/sub") == b"inner"
    assert run_confined(session, ["pwd"], b"/sub/../sub") == b"/sys/sub\n"


def test_nothing_but_the_guests_tree_can_be_written(session: Session, guest: Path) -> None:
    run_confined(session, ["mkdir", "new"])
    assert (guest / "new").is_dir()
    for place in ("/", "/etc", "/tmp", "/usr", "/proc/1/root", "/proc/self/cwd/../etc"):
        with pytest.raises(CallError, match="Read-only file system"):
            run_confined(session, ["mkdir", f"{place}/new"])


def test_program_sees_no_devices_and_no_processes(session: Session) -> None:
    patterns = "/proc/sys* /dev/null* /sys/block*"
    assert run_confined(session, ["sh", "-c", f"echo {patterns}"]) == f"{patterns}\n".encode()
    assert run_confined(session, ["ls", "/proc"]) == b"1\nself\nthread-self\n"


def test_mode_is_changed_without_following_links(session: Session, guest: Path) -> None:
    """The C library does that by way of /proc/self/fd."""
    (guest / "tree").mkdir()
    (guest / "tree/file").touch()
    (guest / "tree").chmod(0o7550)
    run_confined(session, ["cp", "-a", "tree", "copy"])
    run_confined(session, ["sh", "-c", "mkdir more && tar -c tree | tar -x -C more"])
    assert (guest / "copy").stat().st_mode == (guest / "more/tree").stat().st_mode == 0o47550
    run_confined(session, ["cp", "-r", "tree", "third"])
    assert (guest / "third").stat().st_mode & 0o777 == 0o550


def test_error_is_what_the_program_wrote_with_guest_paths(session: Session) -> None:
    with pytest.raises(CallError, match=r"^ls: cannot access '/none': No such file or directory$"):
        run_confined(session, ["ls", "./none"])
    with pytest.raises(CallError, match=r"^false ended with status 1$"):
        run_confined(session, ["false"])
    with pytest.raises(FileNotFoundError):
        run_confined(session, ["true"], b"/none")
    with pytest.raises(OSError, match="not in this appliance"):
        located("no-such-program")


def is_running(word: str) -> bool:
    """Tell whether some process has a word on its command line."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(process.read_bytes())
    return any(word.encode() in line.split(b"\0") for line in lines)


def test_output_that_nobody_wants_ends_the_program(session: Session) -> None:
    word = secrets.token_hex()
    stream = stream_confined(session, ["yes", word])
    next(stream)
    assert is_running(word)
    stream.close()
    assert not is_running(word)


def test_input_that_breaks_off_ends_the_program_and_what_it_started(session: Session) -> None:
    word = secrets.token_hex()

    def broken() -> Iterator[bytes]:
        yield b"x"
        deadline_s = time.monotonic() + 10
        while not is_running(word):
            assert time.monotonic() < deadline_s
        raise CallError("cancelled")

    with pytest.raises(CallError, match="cancelled"):
        feed_confined(session, ["sh", "-c", f"sh -c 'sleep 1000; :' {word} | cat"], b"/", broken())
    assert not is_running(word)


def test_program_ends_with_the_daemon(guest: Path) -> None:
    word = secrets.token_hex()
    with (guest / "sub/huge").open("wb") as file:
        file.truncate(1 << 40)
    with started(guest) as guestfsd:
        guestfsd.start_download(TAR_OUT, TarOutArgs("/sub", excludes=[word]))
        assert is_running(f"--exclude={word}")
        guestfsd.process.kill()
        guestfsd.process.wait()
        deadline_s = time.monotonic() + 10
        while is_running(f"--exclude={word}"):
            assert time.monotonic() < deadline_s


def test_next_child_of_the_daemon_is_in_its_own_pid_namespace(session: Session) -> None:
    run_confined(session, ["true"])
    child = subprocess.run(["readlink", "/proc/self/ns/pid"], capture_output=True, check=True).stdout
    assert child.decode().strip() == str(Path("/proc/self/ns/pid").readlink())


def test_program_may_leave_input_unread(session: Session, guest: Path) -> None:
    feed_confined(session, ["sh", "-c", "head -c 5 > got"], b"/", iter([b"0123456789"] * 100_000))
    assert (guest / "got").read_bytes() == b"01234"


def test_argument_keeps_inside(session: Session, guest: Path, tmp_path: Path) -> None:
    (guest / "out").symlink_to(tmp_path)
    (guest / "up").symlink_to("../../../../sub")
    found = [
        argument(session, path) for path in (b"/", b"/..", b"/../../x", b"/sub/..", b"/up/inner", b"/up", b"/link")
    ]
    assert found == [b"./.", b"./.", b"./x", b"./.", b"./sub/inner", b"./up", b"./link"]
    assert [argument(session, path) for path in (b"/sub/", b"/sub/.", b"/new/")] == [b"./sub", b"./sub/.", b"./new"]
    for path in (b"/up/", b"/out/", b"/hello/", b"/dangling/", b"/sub/inner/"):
        with pytest.raises(NotADirectoryError):
            argument(session, path)
    assert argument(session, b"/up/", follow=True) == b"./sub"
    assert argument(session, b"/link", follow=True) == b"./sub/inner"
    with pytest.raises(FileNotFoundError):
        argument(session, b"/out/secret")
    (guest / tmp_path.relative_to("/")).mkdir(parents=True)
    assert argument(session, b"/out/secret", follow=True) == b"." + os.fsencode(tmp_path) + b"/secret"
    assert argument(session, b"/dangling", follow=True) == b"./dangling"


def archive(*members: tuple[str, bytes | str | None]) -> bytes:
    """Pack files (bytes), links (text) and directories (None)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            elif content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
    return buffer.getvalue()


UP = "../" * 30


@pytest.mark.parametrize("kind", ["absolute", "upward", "in the archive"])
def test_archive_is_not_unpacked_through_a_link_that_leads_out(
    daemon: Guestfsd, guest: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = f"{UP}{outside}" if kind == "upward" else str(outside)
    members: list[tuple[str, bytes | str | None]] = [("trail/planted", b"evil")]
    if kind == "in the archive":
        members.insert(0, ("trail", target))
    else:
        (guest / "trail").symlink_to(target)
    with pytest.raises(ProcedureError):
        daemon.upload(TAR_IN, TarInArgs(GuestPath(b"/")), archive(*members))
    assert list(outside.iterdir()) == []


def test_copy_does_not_write_through_a_link_that_leads_out(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "from/sub").mkdir(parents=True)
    (guest / "from/sub/file").write_bytes(b"evil")
    (guest / "to/from/sub").mkdir(parents=True)
    (guest / "to/from/sub/file").symlink_to(tmp_path / "secret")
    with pytest.raises(ProcedureError):
        daemon.call(CP_R, MvArgs(GuestPath(b"/from"), GuestPath(b"/to")))
    assert (tmp_path / "secret").read_bytes() == b"host"


def test_removal_does_not_follow_links(daemon: Guestfsd, guest: Path, tmp_path: Path) -> None:
    (guest / "sub/out").symlink_to(tmp_path)
    daemon.call(RM_RF, PathArgs(GuestPath(b"/sub")))
    assert not (guest / "sub").exists()
    assert (tmp_path / "secret").exists()
