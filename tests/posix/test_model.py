"""A stateful model: hypothesis looks for calls by several users after which a mount differs from a local filesystem."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.posix.actor import Actor
from tests.posix.conftest import ALICE, BOB, FRIENDS, impossible_calls, new_place, share
from tests.posix.syscalls import forget_files
from tests.posix.twin import Difference, Twin

EXAMPLES: Final = 60
STEPS: Final = 40
NAMES: Final = st.sampled_from(
    [*"abcd", *(f"{directory}/{name}" for directory in "ab" for name in "abcd"), "a/b/a", "a/b/c", "b/a/b", ".", "a/.."]
)
WHO: Final = st.integers(0, 2)
NUMBERS: Final = st.integers(0, 2)
OFFSETS: Final = st.sampled_from([0, 1, 5, 4095, 4096, 10_000, 140_000])
DATA: Final = st.one_of(st.binary(max_size=8), st.sampled_from([b"x" * 4096, b"y" * 5000, bytes(range(250)) * 600]))
MODES: Final = st.sampled_from([0o777, 0o755, 0o700, 0o644, 0o600, 0o666, 0, 0o1777, 0o2775, 0o6755, 0o4777, 0o2747])
FLAGS: Final = st.builds(
    lambda access, more: access | more,
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.sampled_from([0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_CREAT | os.O_TRUNC, os.O_APPEND])
    | st.just(os.O_CREAT | os.O_APPEND),
)
ATTRIBUTES: Final = st.sampled_from(["user.a", "user.b", "trusted.a", "security.a"])
_OWNERS: Final = st.sampled_from([-1, 0, ALICE, BOB, FRIENDS])


class Model(RuleBasedStateMachine):
    """Calls on two directories."""

    def __init__(self, twin: Twin) -> None:
        super().__init__()
        self._twin = twin

    def teardown(self) -> None:
        """Compare everything; hypothesis does that at the end of each example."""
        try:
            self._twin.compare()
        finally:
            self._twin.end()

    @rule(who=WHO, number=NUMBERS, name=NAMES, flags=FLAGS, mode=MODES)
    def open(self, who: int, number: int, name: str, flags: int, mode: int) -> None:
        self._twin.do(who, "open", number, name, flags, mode)

    @rule(who=WHO, number=NUMBERS, call=st.sampled_from(["close", "forget", "fsync", "fstat"]))
    def on_open(self, who: int, number: int, call: str) -> None:
        self._twin.do(who, call, number)

    @rule()
    def forget_files(self) -> None:
        self._twin.history.append("forget")
        forget_files()

    @rule(who=WHO, number=NUMBERS, data=DATA)
    def write(self, who: int, number: int, data: bytes) -> None:
        self._twin.do(who, "write", number, data)

    @rule(who=WHO, number=NUMBERS, data=DATA, offset=OFFSETS)
    def pwrite(self, who: int, number: int, data: bytes, offset: int) -> None:
        self._twin.do(who, "pwrite", number, data, offset)

    @rule(who=WHO, number=NUMBERS, count=OFFSETS)
    def read(self, who: int, number: int, count: int) -> None:
        self._twin.do(who, "read", number, count)

    @rule(who=WHO, number=NUMBERS, count=OFFSETS, offset=OFFSETS)
    def pread(self, who: int, number: int, count: int, offset: int) -> None:
        self._twin.do(who, "pread", number, count, offset)

    @rule(who=WHO, number=NUMBERS, size=OFFSETS)
    def ftruncate(self, who: int, number: int, size: int) -> None:
        self._twin.do(who, "ftruncate", number, size)

    @rule(who=WHO, number=NUMBERS, mode=MODES)
    def fchmod(self, who: int, number: int, mode: int) -> None:
        self._twin.do(who, "fchmod", number, mode)

    @rule(
        who=WHO,
        name=NAMES,
        call=st.sampled_from(["rmdir", "unlink", "readlink", "lstat", "stat", "list", "read_file", "listxattr"]),
    )
    def on_one_name(self, who: int, name: str, call: str) -> None:
        self._twin.do(who, call, name)

    @rule(who=WHO, name=NAMES, call=st.sampled_from(["mkdir", "mkfifo", "chmod"]), mode=MODES)
    def with_mode(self, who: int, name: str, call: str, mode: int) -> None:
        self._twin.do(who, call, name, mode)

    @rule(
        who=WHO,
        old=NAMES,
        new=NAMES,
        call=st.sampled_from(["rename", "rename", "rename_noreplace", "rename_exchange", "link", "symlink"]),
    )
    def on_two_names(self, who: int, old: str, new: str, call: str) -> None:
        self._twin.do(who, call, old, new)

    @rule(who=WHO, name=NAMES, size=OFFSETS)
    def truncate(self, who: int, name: str, size: int) -> None:
        self._twin.do(who, "truncate", name, size)

    @rule(who=WHO, name=NAMES, uid=_OWNERS, gid=_OWNERS)
    def chown(self, who: int, name: str, uid: int, gid: int) -> None:
        self._twin.do(who, "chown", name, uid, gid)

    @rule(who=WHO, name=NAMES, seconds=st.integers(-(2**31), 10**9 - 1))
    def utime(self, who: int, name: str, seconds: int) -> None:
        self._twin.do(who, "utime", name, seconds)

    @rule(who=WHO, name=NAMES, mode=st.integers(0, 7))
    def access(self, who: int, name: str, mode: int) -> None:
        self._twin.do(who, "access", name, mode)

    @rule(who=WHO, name=NAMES, attribute=ATTRIBUTES, value=st.binary(max_size=20), flags=st.sampled_from([0, 1, 2]))
    def setxattr(self, who: int, name: str, attribute: str, value: bytes, flags: int) -> None:
        self._twin.do(who, "setxattr", name, attribute, value, flags)

    @rule(who=WHO, name=NAMES, attribute=ATTRIBUTES, call=st.sampled_from(["getxattr", "removexattr"]))
    def on_attribute(self, who: int, name: str, attribute: str, call: str) -> None:
        self._twin.do(who, call, name, attribute)


@pytest.fixture(scope="module")
def users() -> Iterator[list[Actor]]:
    """Start a process of root's, and one of each of two users."""
    with ExitStack() as stack:
        ids = ((0, 0, ()), (ALICE, ALICE, (FRIENDS,)), (BOB, BOB, (FRIENDS,)))
        yield [stack.enter_context(Actor(*one)) for one in ids]


def test_mount_does_what_a_local_filesystem_does(
    kernels_world: Path, place: Path, world_kind: str, filesystem: str, users: list[Actor]
) -> None:
    reference = new_place(kernels_world / filesystem)

    class Here(Model):
        def __init__(self) -> None:
            super().__init__(Twin(new_place(reference), new_place(place), users, impossible_calls(world_kind)))

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=share(EXAMPLES, world_kind),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a").write_bytes(b"other"),
        lambda root: (root / "a").write_bytes(b"longer"),
        lambda root: (root / "a").chmod(0o600),
        lambda root: os.chown(root / "a", 1, -1),
        lambda root: os.utime(root / "a", (1, 1)),
        lambda root: os.link(root / "a", root / "b"),
        lambda root: os.setxattr(root / "a", "user.x", b""),
        lambda root: (root / "a").unlink(),
        lambda root: (root / "b").mkdir(),
        lambda root: (root / "d").rmdir(),
    ],
)
@pytest.mark.root
def test_whatever_differs_is_found(kernels_world: Path, users: list[Actor], change: object) -> None:
    place = new_place(kernels_world / "ext4")
    twin = Twin(new_place(place), tried := new_place(place), users)
    twin.do(0, "open", 0, "a", os.O_CREAT | os.O_RDWR)
    twin.do(0, "write", 0, b"first")
    twin.do(1, "mkdir", "d", 0o755)
    twin.compare()
    assert callable(change)
    change(tried)
    with pytest.raises(Difference, match=r"\n.*mkdir"):
        twin.compare()
    twin.end()
