"""Before an appliance goes down everything is written out that can be, whatever fails."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from daemon import assembly, mounts
from daemon.session import CallError
from rpc.arguments import NoArgs

SESSION: Any = None
"""None of the calls below looks at it."""


def test_disk_that_fails_keeps_no_other_from_being_flushed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flushed: list[str] = []

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        raise OSError(errno.EIO if len(flushed) == 1 else errno.ENOSPC, "bad disk")

    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
    monkeypatch.setattr(assembly, "IN_APPLIANCE", True)
    monkeypatch.setattr(mounts, "disks", lambda: [f"..{tmp_path}/{name}" for name in ("one", "none", "two", "three")])
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", fsync)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="bad disk") as caught:
        mounts.sync(SESSION, NoArgs())
    assert (flushed, caught.value.errno) == (["one", "two", "three"], errno.EIO)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_busy_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_args: object) -> None:
        raise CallError("target is busy")

    synced: list[bool] = []
    monkeypatch.setattr(mounts, "_lost", lambda _session: None)
    monkeypatch.setattr(mounts, "umount_all", busy)
    monkeypatch.setattr(mounts, "sync", lambda *_args: synced.append(True))
    with pytest.raises(CallError, match="busy"):
        mounts.internal_autosync(SESSION, NoArgs())
    assert synced == [True]
