"""A daemon that lies about extents, over a real channel: the verbs end in an error, or with what is then refused."""

from collections.abc import Sequence
from typing import Final

import pytest
import trio

from guestmount_py.extents import AddressMap, file_map
from guestmount_py.mapping import GuestMapping
from rpc.codec import GuestPath
from rpc.errors import RemoteProtocolError
from rpc.extents import EXTENT, MapPart
from rpc.pool import ChannelPool
from rpc.procedures import DEVICE_MAP, MAP_FILES
from rpc.procedures.extensions import DeviceMap, DeviceSegment, MapFilesArgs
from tests.guests.mapped import extents_of
from tests.rpc.extents import ONE, block, part, slot
from tests.rpc.scripted_daemon import ScriptedDaemon, conversation

NAMES: Final = [b"a", b"b"]
PATHS: Final = [GuestPath(b"/d"), GuestPath(b"/e")]
QUESTION: Final = MapFilesArgs(PATHS[:1], b"a\0b")
MAP: Final = DeviceMap(39, "ext4", "", 4096, [DeviceSegment(0, 1 << 20, "drive0", 0)])
BOTH: Final = part(39, slot(ONE), slot(ONE))


async def answer(daemon: ScriptedDaemon, pieces: Sequence[bytes], question: MapFilesArgs = QUESTION) -> None:
    header, args = await daemon.receive_call(MAP_FILES)
    assert args == question
    await daemon.send(daemon.connection.send_reply(header, b"", streams=True))
    for piece in pieces:
        await daemon.send(daemon.connection.send_chunk(piece))
    await daemon.send(daemon.connection.send_end())


async def asked(*pieces: bytes) -> list[bytes | None]:
    """Return what the verb makes of a stream."""
    outcome: MapPart | RemoteProtocolError
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(answer, daemon, pieces)
        try:
            outcome = await extents_of(GuestMapping(ChannelPool([channel])), b"/d", NAMES)
        except RemoteProtocolError as exc:  # raised below, without the nursery's group around it
            outcome = exc
    if isinstance(outcome, RemoteProtocolError):
        raise outcome
    return outcome.files


async def test_extents_of_a_file_are_joined_wherever_the_stream_is_cut() -> None:
    stream = part(39, slot(ONE, follows=1), slot(b"")) + block(ONE, ONE) + block(ONE) + block()
    assert await asked(stream) == await asked(*(stream[at : at + 50] for at in range(0, len(stream), 50)))
    assert await asked(stream) == [ONE * 3, b""]
    assert await asked(part(39, slot(None)), part(39, slot(ONE))) == [None, ONE]


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [part(39)],
        [part(39, slot(ONE))],
        [part(39, *[slot(ONE)] * 3)],
        [BOTH + part(39, slot(ONE))],
        [part(39, slot(ONE), slot(ONE, follows=1)) + block(ONE)],
        [BOTH[:-1]],
        [part(39, slot(ONE)), part(39, slot(ONE, mapped=7))],
    ],
)
async def test_stream_that_does_not_answer_the_call_is_an_error(pieces: Sequence[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        await asked(*pieces)


async def test_parts_of_other_directories_than_were_asked_for_are_an_error() -> None:
    async with conversation() as (channel, daemon), trio.open_nursery() as nursery:
        nursery.start_soon(answer, daemon, [BOTH + part(39, slot(ONE))], MapFilesArgs(PATHS, b"a/b\0c"))
        verbs = GuestMapping(ChannelPool([channel]))
        with pytest.raises(RemoteProtocolError, match="extents of 2 files"):
            async with verbs.map_directories([(b"/d", [b"a"]), (b"/e", [b"b", b"c"])]) as parts:
                assert [found async for found in parts] == []


async def test_file_in_very_many_extents_counts_as_not_mappable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestmount_py.mapping._EXTENTS_MAX", 4)
    head = part(39, slot(ONE, follows=1), slot(b""))
    assert await asked(head + block(ONE, ONE) * 2 + block()) == [ONE * 4, b""]
    assert await asked(head + block(ONE, ONE) * 2 + block(ONE) + block()) == [None, b""]


async def test_answer_without_end_leaves_the_rest_to_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestmount_py.mapping._ANSWER_MAX_BYTES", 1000)
    assert await asked(part(0, slot(ONE)), part(0, slot(ONE, follows=1)), *([block(*[ONE] * 10)] * 4)) == [ONE, None]


@pytest.mark.parametrize("extent", [(0, (1 << 20) - 4096, 8192, 1), (0, 1 << 40, 1, 1), (1 << 63, 0, 4096, 1)])
async def test_extent_outside_the_drive_is_an_error_and_no_place(extent: tuple[int, int, int, int]) -> None:
    (found, _) = await asked(part(39, slot(EXTENT.pack(*extent)), slot(None)))
    assert found is not None
    with pytest.raises(RemoteProtocolError):
        file_map(found, 8192, AddressMap(MAP, {"drive0": 1 << 20}))


async def test_device_map_that_leaves_the_drive_is_an_error() -> None:
    async with conversation() as (channel, daemon):
        verbs = GuestMapping(ChannelPool([channel]))
        for told in (MAP.segments[0], MAP.segments[0]._replace(offset=512), MAP.segments[0]._replace(serial="drive1")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(daemon.answer, DEVICE_MAP, MAP._replace(segments=[told]))
                if told == MAP.segments[0]:
                    assert (await verbs.device_map(b"/d", {"drive0": 1 << 20})).filesystem == 39
                    continue
                with pytest.raises(RemoteProtocolError, match="a segment of 1048576 bytes"):
                    await verbs.device_map(b"/d", {"drive0": 1 << 20})
