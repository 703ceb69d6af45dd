"""Whatever arrives, only RemoteProtocolError comes out, and memory stays within what arrived."""

import random
import tracemalloc
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc import constants, framing
from rpc.arguments import PathArgs
from rpc.codec import Codec, DeviceOrPath, GuestPath, codec_of
from rpc.connection import Connection, Role
from rpc.errors import RemoteProtocolError
from rpc.events import NEED_DATA
from rpc.extents import MapDecoder
from rpc.hot import DIRENT_LIST, STATNS_LIST, XATTR_LIST, decode_directory_entries, decode_dirents, decode_file_contents
from rpc.procedures import BY_NUMBER, DOWNLOAD, LSTATNS, UPLOAD
from rpc.procedures.transfers import RemoteFileArgs
from rpc.xdr import Reader
from tests.rpc.captured import CAPTURES
from tests.rpc.ends import Ends
from tests.rpc.strategies import BRIEFLY, STRUCTURES

CODECS: Final[dict[str, Codec[Any]]] = {
    **{f"{row.name} arguments": row.args_codec for row in BY_NUMBER.values()},
    **{f"{row.name} result": row.result for row in BY_NUMBER.values()},
    **{cls.__name__: codec_of(cls) for cls in STRUCTURES},
}
RECORDS: Final = (decode_directory_entries, decode_file_contents, decode_dirents, lambda data: MapDecoder(9).feed(data))
FRAMES: Final = [frame.data for frames in CAPTURES.values() for frame in frames]
PHASES: Final = ("starting", "idle", "called", "download", "upload")
ODD_WORDS: Final = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, constants.MESSAGE_MAX_BYTES, 0x00400001, 0x10000000)


def connection_in(phase: str) -> Connection:
    """Return a connection that awaits what is interesting: as the client, or as the daemon for an upload."""
    if phase == "starting":
        return Connection(Role.CLIENT)
    ends = Ends()
    if phase == "idle":
        return ends.daemon
    if phase == "upload":
        ends.called(UPLOAD, RemoteFileArgs(DeviceOrPath(b"/f")))
        ends.daemon.begin_upload()
        return ends.daemon
    if phase == "called":
        ends.called(LSTATNS, PathArgs(GuestPath(b"/f")))
        return ends.client
    header = ends.called(DOWNLOAD, RemoteFileArgs(DeviceOrPath(b"/f")))
    ends.to_client(ends.daemon.send_reply(header, b"", streams=True))
    return ends.client


def damaged(source: random.Random, data: bytes) -> bytes:
    """Return data cut, flipped, spliced, or with an odd word in it."""
    result = bytearray(data)
    for _ in range(source.randint(1, 3)):
        kind = source.randrange(4)
        position = source.randrange(len(result) + 1)
        if kind == 0:
            del result[position:]
        elif kind == 1 and position < len(result):
            result[position] ^= 1 << source.randrange(8)
        elif kind == 2:
            result[position:position] = source.randbytes(source.randint(1, 64))
        else:
            position &= ~3
            result[position : position + 4] = source.choice(ODD_WORDS).to_bytes(4, "big")
    return bytes(result)


def drain(connection: Connection, data: bytes) -> None:
    connection.receive_data(data)
    try:
        while connection.next_event() is not NEED_DATA:
            pass
    except RemoteProtocolError:
        # a connection that is finished stays so
        connection.receive_data(framing.CANCEL_WORD)
        with pytest.raises(RemoteProtocolError, match="finished"):
            connection.next_event()


def decode_all(data: bytes) -> int:
    """Give data to every decoder there is; return how many took it."""
    taken = 0
    for codec in CODECS.values():
        try:
            codec.decode(Reader(data))
            taken += 1
        except RemoteProtocolError:
            pass
    for decode in RECORDS:
        try:
            for _ in decode(data):
                pass
        except RemoteProtocolError:
            pass
    return taken


@pytest.mark.parametrize("seed", range(40))
def test_damaged_traffic_in_every_phase(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(300):
        data = damaged(source, source.choice(FRAMES))
        for phase in PHASES:
            drain(connection_in(phase), data)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bodies_in_every_decoder(seed: int) -> None:
    source = random.Random(seed)
    messages = [data for data in FRAMES if len(data) > constants.HEADER_BYTES + 4]
    for _ in range(25):
        decode_all(damaged(source, source.choice(messages)[constants.HEADER_BYTES + 4 :]))


@BRIEFLY
@given(st.binary(max_size=200))
def test_any_bytes_in_every_decoder(data: bytes) -> None:
    assert decode_all(data) >= 1  # VOID at least


@BRIEFLY
@given(st.lists(st.sampled_from(ODD_WORDS), max_size=60))
def test_odd_words_in_every_decoder(words: list[int]) -> None:
    decode_all(b"".join(word.to_bytes(4, "big") for word in words))


@BRIEFLY
@given(st.binary(max_size=300), st.sampled_from(PHASES))
def test_any_bytes_on_a_connection(data: bytes, phase: str) -> None:
    drain(connection_in(phase), data)


def peak_bytes(action: Any) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [constants.MESSAGE_MAX_BYTES + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_oversized_length_word_is_refused_before_anything_is_kept(size: int) -> None:
    connection = connection_in("called")

    def announce() -> None:
        connection.receive_data(size.to_bytes(4, "big"))
        with pytest.raises(RemoteProtocolError):
            connection.next_event()

    assert peak_bytes(announce) < 64 << 10


@pytest.mark.parametrize("codec", [STATNS_LIST, DIRENT_LIST, XATTR_LIST, *CODECS.values()])
@pytest.mark.parametrize("count", [0xFFFFFFFF, 0x7FFFFFFC, 0x01000000])
def test_huge_counts_allocate_nothing(codec: Codec[Any], count: int) -> None:
    data = count.to_bytes(4, "big") * 16

    def decode() -> None:
        with suppress(RemoteProtocolError):
            codec.decode(Reader(data))

    assert peak_bytes(decode) < 64 << 10


def test_longest_frame_byte_by_byte_stays_within_its_size() -> None:
    connection = connection_in("called")
    header = constants.MESSAGE_MAX_BYTES.to_bytes(4, "big")

    def trickle() -> None:
        connection.receive_data(header)
        for _ in range(constants.MESSAGE_MAX_BYTES // 64 - 1):
            connection.receive_data(bytes(64))
            assert connection.next_event() is NEED_DATA

    assert peak_bytes(trickle) < 3 * constants.MESSAGE_MAX_BYTES


def test_many_frames_do_not_pile_up() -> None:
    connection = connection_in("download")
    chunk = framing.encode_chunk(bytes(8192))
    stream = chunk * 33

    def flow() -> None:
        for _ in range(200):
            connection.receive_data(stream[:-5])
            while connection.next_event() is not NEED_DATA:
                pass
            connection.receive_data(stream[-5:])
            while connection.next_event() is not NEED_DATA:
                pass

    assert peak_bytes(flow) < 4 * len(stream)
