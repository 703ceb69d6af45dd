import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from appliance.template import TemplateUnusable, finish_template, maker_of, nameless_file
from appliance.template_cache import TemplateCache
from rpc.errors import ImageError

MEMORY_BYTES = 1 << 20
DAY_S = 24 * 3600


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemplateCache:
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    return TemplateCache()


def _make(cache: TemplateCache, key: str = "k") -> Path:
    with nameless_file(cache.directory, MEMORY_BYTES) as file:
        file.write(b"state")
        finish_template(file, cache.path(key), key, MEMORY_BYTES, maker_of("7.2"))
    return cache.path(key)


def _used(path: Path, age_s: float) -> None:
    os.utime(path, ns=(int((time.time() - age_s) * 1e9), path.stat().st_mtime_ns))


def test_few_templates_are_kept_those_that_were_used_last(cache: TemplateCache) -> None:
    for age, key in enumerate("abcdefg"):
        _used(_make(cache, key), 100 * age + 100)
    trio.run(_prune, cache)
    names = sorted(path.name for path in cache.directory.iterdir())
    assert names == ["lock-template", "template-a", "template-b", "template-c"]


async def _prune(cache: TemplateCache) -> None:
    async with cache.lock(print):
        os.utime(cache.directory / "lock-template", (0, 0))
        cache.prune()


def test_use_keeps_a_template(cache: TemplateCache) -> None:
    path = _make(cache)
    _used(path, 2 * DAY_S)
    with cache.opened("k"):
        pass
    cache.prune()
    assert path.exists()


@pytest.mark.parametrize("age_s", [DAY_S + 60, -3600])
def test_template_that_was_not_used_for_a_day_or_of_the_future_goes(cache: TemplateCache, age_s: float) -> None:
    path = _make(cache)
    _used(path, age_s)
    cache.prune()
    assert not path.exists()


def test_damaged_template_is_removed(cache: TemplateCache) -> None:
    os.truncate(_make(cache), 5)
    with pytest.raises(TemplateUnusable), cache.opened("k"):
        pytest.fail("used a bad template")
    assert list(cache.directory.iterdir()) == []


def test_blamed_template_is_gone_but_stays_open(cache: TemplateCache) -> None:
    path = _make(cache)
    with ExitStack() as stack:
        template = stack.enter_context(cache.opened("k"))
        cache.blame("k", path.stat().st_ino)
        assert not path.exists()
        assert os.pread(template.state.fileno(), 5, MEMORY_BYTES) == b"state"


def test_template_that_another_process_made_meanwhile_is_not_blamed(cache: TemplateCache) -> None:
    first = _make(cache).stat().st_ino
    second = _make(cache)
    cache.blame("k", first)
    assert second.exists()


@pytest.mark.parametrize("age_s", [3700, -3700])
def test_failure_is_remembered_for_an_hour(cache: TemplateCache, age_s: float) -> None:
    assert not cache.failed_lately("k")
    cache.blame("k", None)
    assert cache.failed_lately("k")
    assert not cache.failed_lately("other")
    [mark] = cache.directory.iterdir()
    os.utime(mark, (time.time() - age_s, time.time() - age_s))
    assert not cache.failed_lately("k")
    cache.prune()
    assert list(cache.directory.iterdir()) == []


def test_failure_can_be_forgiven(cache: TemplateCache) -> None:
    cache.blame("k", None)
    cache.forgive("k")
    cache.forgive("k")
    assert not cache.failed_lately("k")


def _file(place: Path) -> None:
    place.write_text("no directory")


def _open_to_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


@pytest.mark.parametrize("spoil", [_file, _open_to_all])
def test_cache_that_cannot_be_trusted_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path))
    spoil(tmp_path / "guestmount-py")
    with pytest.raises(ImageError, match="set LIBGUESTFS_CACHEDIR"):
        TemplateCache()
