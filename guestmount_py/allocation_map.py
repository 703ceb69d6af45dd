"""Where in an image's files each part of a drive lies."""

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

from appliance.process import ProgramFailed, run_program
from guestmount_py.image_chain import Layer, chain_node
from rpc.errors import DriveError

ZEROS: Final = (1 << 64) - 1
"""The place of what reads as zeros."""
ELSEWHERE: Final = (1 << 64) - 2
"""The place of what is not in a file as it is: compressed clusters."""
_LAYER_SHIFT: Final = 56
"""In a packed place the layer's index is above the offset in its file, which is below 64 PiB."""
_CLUSTER_MAX_BYTES: Final = 2 << 20
"""A file may end inside its last cluster (qemu: docs/interop/qcow2.txt)."""
_MAP_S: Final = 120.0
_RUNS_MAX: Final = 2_000_000
"""Each takes 16 bytes here, and about 100 in qemu-img's answer."""


class AllocationMap:
    """Runs that cover a drive without a gap: 16 bytes each.

    Args:
        entries: what ``qemu-img map --output=json`` says.
        size_bytes: of the drive.
        layer_sizes: bytes of each layer's file.

    Attributes:
        is_complete: nothing of it is ELSEWHERE.

    Raises:
        DriveError: they do not cover it in order, or name what there is not.
    """

    def __init__(self, entries: Any, size_bytes: int, layer_sizes: list[int]) -> None:
        self.size_bytes: Final = size_bytes
        self._starts = array("Q")
        self._places = array("Q")
        end = previous_end = 0
        if not isinstance(entries, list) or len(entries) > _RUNS_MAX:
            raise DriveError("the allocation map is too long, or is none")
        for entry in entries:
            start, length = _number(entry, "start"), _number(entry, "length")
            if start != end or not 0 < length <= size_bytes - start:
                raise DriveError(f"the allocation map goes on at {start} with {length} bytes, after {end}")
            end = start + length
            place = _place(entry, length, layer_sizes)
            if self._places and place == (previous_end if place < ELSEWHERE else self._places[-1]):
                previous_end = place + length
                continue
            self._starts.append(start)
            self._places.append(place)
            previous_end = place + length
        if end != size_bytes:
            raise DriveError(f"the allocation map ends at {end} instead of {size_bytes}")
        self.is_complete: Final = ELSEWHERE not in self._places
        self._starts.append(size_bytes)

    def __len__(self) -> int:
        return len(self._places)

    def runs(self, offset: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield length, layer and offset of each run of a range of the drive, which must be within it.

        The layer is -1 for ZEROS and -2 for ELSEWHERE; the offset is one in the drive then.
        """
        index = bisect_right(self._starts, offset) - 1
        while count:
            start, place = self._starts[index], self._places[index]
            length = min(count, self._starts[index + 1] - offset)
            if place >= ELSEWHERE:
                yield length, -1 if place == ZEROS else -2, offset
            else:
                place += offset - start
                yield length, place >> _LAYER_SHIFT, place & (1 << _LAYER_SHIFT) - 1
            offset += length
            count -= length
            index += 1


async def read_allocation_map(layers: list[Layer], size_bytes: int, layer_sizes: list[int]) -> AllocationMap:
    """Have qemu-img tell the map of a chain.

    Raises:
        DriveError: it fails, or tells nonsense.
    """
    name = "json:" + json.dumps(chain_node(layers))
    try:
        output = await run_program(["qemu-img", "map", "-U", "--output=json", name], timeout_s=_MAP_S)
        return AllocationMap(json.loads(output), size_bytes, layer_sizes)
    except (ProgramFailed, ValueError) as exc:
        raise DriveError(f"{layers[0].path}: its allocation map cannot be read: {exc}") from exc


def _place(entry: dict[str, Any], length: int, layer_sizes: list[int]) -> int:
    """Return the packed place of an entry (qemu: docs/tools/qemu-img.rst, "map").

    ``zero`` is certain. ``data`` without an offset is compressed, or encrypted. What is neither is unknown.
    """
    if entry.get("zero") is True:
        return ZEROS
    if entry.get("data") is not True or "offset" not in entry or entry.get("compressed") is True:
        return ELSEWHERE
    offset, layer = _number(entry, "offset"), _number(entry, "depth")
    known = layer < len(layer_sizes) and offset < layer_sizes[layer]
    if not known or length > layer_sizes[layer] - offset + _CLUSTER_MAX_BYTES:
        raise DriveError(f"the allocation map names {length} bytes at {offset} of layer {layer}, which are not there")
    if length >= 1 << _LAYER_SHIFT or offset + length >= 1 << _LAYER_SHIFT:
        raise DriveError(f"the allocation map names {length} bytes at {offset}")
    return layer << _LAYER_SHIFT | offset


def _number(entry: Any, key: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DriveError(f"the allocation map has {str(value)[:40]} as {key}")
    return value
