"""What is read of NTFS, which may hold anything; real ones are in tests/stacks/test_windows.py."""

from struct import pack, pack_into

from hypothesis import given
from hypothesis import strategies as st

from guestmount_py.ntfs import flags_of, record_of_volume


@given(st.binary(min_size=512, max_size=512))
def test_any_first_sector_gives_a_place(head: bytes) -> None:
    place, size_bytes = record_of_volume(head)
    assert min(place, size_bytes) >= 0


def test_place_is_told_by_clusters_or_by_a_power_of_two() -> None:
    head = bytearray(512)
    pack_into("<HB", head, 11, 512, 8)
    pack_into("<Q", head, 48, 100)
    pack_into("<b", head, 64, -10)
    assert record_of_volume(bytes(head)) == (100 * 4096 + 3 * 1024, 1024)
    pack_into("<b", head, 64, 1)
    assert record_of_volume(bytes(head)) == (100 * 4096 + 3 * 4096, 4096)
    pack_into("<B", head, 13, 256 - 7)
    assert record_of_volume(bytes(head)) == (100 * 65536 + 3 * 65536, 65536)


@given(st.binary(max_size=1024))
def test_any_record_gives_flags(data: bytes) -> None:
    assert 0 <= flags_of(b"FILE" + data) <= 0xFFFF


@given(st.integers(0, 60), st.integers(0, 0xFFFF))
def test_flags_are_those_of_the_volume_behind_any_other_attributes(others: int, flags: int) -> None:
    head = pack("<4s16xH34x", b"FILE", 56)
    other = pack("<IHH16x", 0x60, 24, 0xBEEF)  # where a sector ends, what its last two bytes hold is another thing
    volume = pack("<IHH12xH2x", 0x70, 40, 0, 24) + pack("<10xH4x", flags)
    data = (head + other * others + volume).ljust(2048, b"\0")
    assert flags_of(data[:2048]) == (flags if len(head) + 24 * others + 40 <= 2048 else 0)
