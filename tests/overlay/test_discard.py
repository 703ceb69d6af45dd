"""discard removes overlays that nobody needs, and nothing else."""

import pytest

from guestmount_py.overlay import discard_overlay
from rpc.errors import DriveError
from tests.overlay.conftest import Place
from tests.overlay.disk import opened


async def test_overlay_goes_and_the_base_stays_as_it_was(place: Place) -> None:
    before = place.base.read_bytes()
    await place.create()
    place.write("write -P 5 0 1M")
    await discard_overlay(place.overlay)
    assert place.names() == ["base.qcow2"]
    assert place.base.read_bytes() == before


async def test_overlay_whose_base_has_gone_can_be_discarded(place: Place) -> None:
    await place.create()
    place.base.unlink()
    await discard_overlay(place.overlay)
    assert place.names() == []


async def test_image_that_is_no_overlay_is_kept(place: Place) -> None:
    with pytest.raises(DriveError, match=r"base\.qcow2: is no overlay"):
        await discard_overlay(place.base)
    assert place.names() == ["base.qcow2"]


async def test_overlay_that_is_missing_is_one_clear_line(place: Place) -> None:
    with pytest.raises(DriveError, match=r"overlay\.qcow2: No such file or directory: give the name of an overlay"):
        await discard_overlay(place.overlay)


async def test_journal_that_was_never_whole_goes_too(place: Place) -> None:
    await place.create()
    place.overlay.with_name("overlay.qcow2.commit.part").touch()
    await discard_overlay(place.overlay)
    assert place.names() == ["base.qcow2"]


@pytest.mark.parametrize("writable", [True, False])
async def test_overlay_in_use_is_kept(place: Place, writable: bool) -> None:
    await place.create()
    with opened(place.overlay, writable=writable) as pid, pytest.raises(DriveError, match=f"in use by process {pid}"):
        await discard_overlay(place.overlay)
    assert place.overlay.exists()


async def test_overlay_of_an_interrupted_commit_is_kept(place: Place) -> None:
    await place.create()
    place.overlay.with_name("overlay.qcow2.commit").touch()
    with pytest.raises(DriveError, match=r"interrupted.*end it with 'guestmount-py overlay commit"):
        await discard_overlay(place.overlay)
    assert place.overlay.exists()
