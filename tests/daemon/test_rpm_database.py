"""The three databases of RPM: written by rpm and by Berkeley DB themselves, ndb, which Debian's rpm has not, by us."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.handlers import handler_of
from daemon.session import CallError, Session
from daemon.sysroot import Sysroot
from rpc.arguments import NoArgs
from rpc.procedures import INTERNAL_LIST_RPM_APPLICATIONS
from rpc.procedures.inspection import Application2
from tests.guests.rpm import COUNT, RPM_FILES, rpm_databases

pytestmark = [pytest.mark.root]


def listed(root: Path) -> list[Application2]:
    handler = handler_of(INTERNAL_LIST_RPM_APPLICATIONS.number)
    assert handler is not None
    answer: list[Application2] = handler.function(Session(Sysroot(bytes(root), is_plain_directory=True)), NoArgs())
    return answer


@pytest.mark.parametrize("kind", RPM_FILES)
def test_packages_are_those_that_rpm_installed(kind: str) -> None:
    found = listed(rpm_databases() / kind)
    numbers = sorted(set(range(COUNT)) - {7}, key=lambda number: f"test-{number}")
    assert [each.app2_name for each in found] == [f"test-{number}" for number in numbers]
    eleven = found[numbers.index(11)]
    nothing = Application2._make("" if kind is str else 0 for kind in Application2.__annotations__.values())
    assert eleven == nothing._replace(
        app2_name="test-11",
        app2_epoch=2,
        app2_version="1.11",
        app2_release="2",
        app2_arch="noarch",
        app2_url="http://example.org/11",
        app2_summary="Package number 11",
        app2_description="What number 11 is for: ä",
    )


def test_no_database_is_no_package(tmp_path: Path) -> None:
    assert listed(tmp_path) == []


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _scribbled(data: bytearray, chance: random.Random) -> None:
    for _ in range(40):
        data[chance.randrange(len(data))] = chance.randrange(256)


def _random(data: bytearray, chance: random.Random) -> None:
    data[:] = chance.randbytes(50_000)


@pytest.mark.parametrize("kind", RPM_FILES)
@pytest.mark.parametrize("damage", [_cut, _scribbled, _random])
def test_damaged_database_is_refused_or_read(
    tmp_path: Path, kind: str, damage: Callable[[bytearray, random.Random], None]
) -> None:
    (original,) = (rpm_databases() / kind).rglob(RPM_FILES[kind])
    place = tmp_path / "var/lib/rpm" / RPM_FILES[kind]
    place.parent.mkdir(parents=True)
    for seed in range(8):
        data = bytearray(original.read_bytes())
        damage(data, random.Random(seed))
        place.write_bytes(data)
        with suppress(CallError):
            assert len(listed(tmp_path)) <= COUNT
    place.write_bytes(b"no database, but long enough for the head of one")
    with pytest.raises(CallError, match="the database of rpm cannot be read"):
        listed(tmp_path)
