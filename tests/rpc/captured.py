"""The recorded exchanges of tests/rpc/captures, frame by frame; see the README there for their format."""

from pathlib import Path
from typing import Final, NamedTuple

from rpc.connection import Role

_DIRECTORY: Final = Path(__file__).parent / "captures"
_SENDERS: Final = {">": Role.CLIENT, "<": Role.DAEMON}


class Frame(NamedTuple):
    sender: Role
    data: bytes


def read_capture(name: str) -> list[Frame]:
    frames: list[Frame] = []
    for line in (_DIRECTORY / name).read_text().splitlines():
        data = bytes.fromhex(line[2:])
        if line.startswith("  "):
            frames[-1] = Frame(frames[-1].sender, frames[-1].data + data)
        else:
            frames.append(Frame(_SENDERS[line[0]], data))
    return frames


CAPTURES: Final = {name: read_capture(name) for name in sorted(path.name for path in _DIRECTORY.glob("*.hex"))}
