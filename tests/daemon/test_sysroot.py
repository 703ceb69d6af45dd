"""What a guest's root costs the process that has it."""

from pathlib import Path

import pytest

from daemon.sysroot import Sysroot


def _open_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_roots_that_are_plain_directories_share_one_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # where leaving a root ends
    (tmp_path / "inside").touch()
    kept = [Sysroot(bytes(tmp_path), is_plain_directory=True)]
    before = _open_count()
    kept += [Sysroot(bytes(tmp_path), is_plain_directory=True) for _ in range(10)]
    assert _open_count() == before
    for root in kept:
        with root:
            assert Path("/inside").exists()
        assert (tmp_path / "inside").exists()
