import os
from pathlib import Path

from bench.work import digest_of_tree


def test_digest_of_tree_notices_names_contents_modes_and_targets(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "file"
    file.write_bytes(b"one")
    link = tmp_path / "link"
    link.symlink_to("below")
    digests = [digest_of_tree(tmp_path), digest_of_tree(tmp_path)]
    assert digests[0] == digests[1]

    file.chmod(0o600)
    digests.append(digest_of_tree(tmp_path))
    file.rename(tmp_path / "below" / "other")
    digests.append(digest_of_tree(tmp_path))
    link.unlink()
    link.symlink_to("elsewhere")
    digests.append(digest_of_tree(tmp_path))
    assert len(set(digests)) == len(digests) - 1


def test_digest_of_tree_counts_times_if_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = digest_of_tree(tmp_path), digest_of_tree(tmp_path, times=False)
    os.utime(tmp_path / "file", (1, 1))
    assert digest_of_tree(tmp_path) != before[0]
    assert digest_of_tree(tmp_path, times=False) == before[1]
