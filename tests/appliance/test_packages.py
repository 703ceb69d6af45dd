import platform
from pathlib import Path

import pytest

from appliance.packages import PackageCache, package_list, wanted
from rpc.errors import ImageError


def test_unknown_distribution_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "slackware", "VERSION_ID": "15.0"})
    with pytest.raises(ImageError, match=r"on slackware-15.0 .* set LIBGUESTFS_PATH=DIR"):
        package_list()


def test_other_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ImageError, match="aarch64, only on x86_64"):
        package_list()


def test_dependencies_that_nothing_runs_are_left_out() -> None:
    archives = [Path(f"/x/{name}_1.0_amd64.deb") for name in ("libperl5.36", "perl-base", "e2fsprogs", "udev")]
    assert [path.name for path in wanted(archives, ["perl*", "libperl*", "udev"])] == ["e2fsprogs_1.0_amd64.deb"]


async def test_failed_download_is_one_line_that_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] file:{tmp_path}/no-such-mirror bookworm main\n")
    (tmp_path / "apt.conf").write_text(f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "-";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(ImageError, match="cannot download the appliance's packages: apt-get: E: ") as caught:
        await PackageCache(tmp_path / "cache", lambda _text: None).download(["busybox"])
    assert "\n" not in str(caught.value)
