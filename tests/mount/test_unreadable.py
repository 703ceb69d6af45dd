"""One file that cannot be read does not take its directory with it, and is not hidden either."""

import errno
from pathlib import Path

import pytest

from tests.mount.conftest import mounted


@pytest.mark.parametrize("options", [[], ["--standard"]])
def test_unreadable_file_is_listed_and_answers_its_own_error(tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("bad", "good", "other"):
        (source / name).write_text(name)
    with mounted(source, tmp_path, "--daemon", "tests.mount.failing_daemon", *options) as served:
        assert sorted(path.name for path in served.path.iterdir()) == ["bad", "good", "other"]
        assert (served.path / "good").read_text() == "good"
        with pytest.raises(OSError, match="Input/output error") as caught:
            (served.path / "bad").stat()
        assert caught.value.errno == errno.EIO
        assert (served.path / "other").read_text() == "other"
