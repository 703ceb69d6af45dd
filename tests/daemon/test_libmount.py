"""What is not mounted through the library, because an option would be lost; the appliance's tests have what is."""

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from daemon import libmount
from daemon.libmount import mounted


class Library:
    """Stands for libmount, notes what it is asked, and fails where it is told to."""

    def __init__(self, failing: str) -> None:
        self.asked: list[str] = []
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        def answer(*_: object) -> int:
            self.asked.append(name.removeprefix("mnt_").removeprefix("context_"))
            return {"mnt_new_context": 1, "mnt_context_get_status": 1}.get(name, -22 if self._failing in name else 0)

        return answer


@pytest.fixture
def fresh() -> Iterator[None]:
    """No library loaded, neither before nor after."""
    libmount._library.cache_clear()
    yield
    libmount._library.cache_clear()


def test_mount_is_made_and_the_context_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library("none")
    monkeypatch.setattr(libmount, "_library", lambda: library)
    assert mounted("/dev/sda1", b"/sysroot", "ro,nodev,nosuid", "ext4")
    assert library.asked[-4:] == ["set_fstype", "mount", "get_status", "free_context"]


@pytest.mark.parametrize("failing", ["disable_helpers", "set_source", "set_target", "set_options", "set_fstype"])
def test_setting_that_fails_is_no_mount_without_it(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    library = Library(failing)
    monkeypatch.setattr(libmount, "_library", lambda: library)
    assert not mounted("/dev/sda1", b"/sysroot", "ro,nodev,nosuid", "ext4")
    assert "mount" not in library.asked
    assert library.asked[-1] == "free_context"


@pytest.mark.parametrize(
    ("device", "target", "options", "vfstype"),
    [
        ("/dev/sda1", b"/sysroot", "noatime\0,nodev,nosuid", ""),
        ("/dev/sda1", b"/sysroot/a\0b", "nodev", ""),
        ("/dev/sda1\0", b"/sysroot", "nodev", ""),
        ("/dev/sda1", b"/sysroot", "nodev", "ext4\0"),
    ],
    ids=["options", "target", "device", "type"],
)
def test_nul_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, target: bytes, options: str, vfstype: str
) -> None:
    library = Library("none")
    monkeypatch.setattr(libmount, "_library", lambda: library)
    assert not mounted(device, target, options, vfstype)
    assert library.asked == []


@pytest.mark.usefixtures("fresh")
def test_missing_library_leaves_it_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not mounted("/dev/sda1", b"/sysroot", "ro", "")
