"""Write the tables of docs/guests.md, of what the tests saw.

pytest --record tests/formats tests/inspection/test_trees.py tests/system/test_matrix.py    see it, as root
python -m tools.guests                                                                      write it
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.formats.differences import REASONS
from tests.guests.families import FAMILIES
from tests.guests.matrix import FILESYSTEMS
from tests.guests.results import load
from tests.guests.stacks import STACKS, devices

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "guests.md"
MARKER: Final = "<!-- below: written by `python -m tools.guests` -->"
_FORMATS: Final = ("raw", "qcow2", "qcow2-compressed", "qcow2-chain", "vmdk", "vdi", "vhdx")
_INTRODUCTION: Final = """\
## What was seen

Every row is a guest that the tests make with the programs named, mount and read. *Files*: so many, each with the
bytes that were put there. *List*: where `guestmount-py list` tells otherwise than `virt-filesystems --all --long
--uuid` and virt-inspector; the last table explains the words. libguestfs does not read a raw image that begins with
LUKS1 (qemu takes it for one of its own), and inspects nothing beside an fstab with a line that it cannot make out (as
`apart` has); names of physical volumes are not compared, for it gives the kernel's, which change from run to run. The
other columns tell how bytes came, in letters: R from a raw image, Q from a qcow2 one, E from qemu's export of an
image, G by the guest; with g some by the guest, too. First with `--plane=auto`, then `qemu` and `guest`, if they were
tried. `make test` compares the lists of whole systems, `make test-long` all.
"""


def document() -> str:
    """Return docs/guests.md, with the tables as the results are now."""
    by_hand = DOCUMENT.read_text().partition(MARKER)[0]
    return "\n".join(
        [
            f"{by_hand}{MARKER}\n",
            _INTRODUCTION,
            "### Formats of images\n\nAll are given to one machine, which reads the same disk of each.\n",
            _table(("image", "has to be said"), _formats()),
            "### Filesystems\n\nEach is on a partition of a GPT disk, which is converted to the other formats.\n",
            _table(("filesystem", "made with", "`-m`", "files", *_FORMATS, "list"), _filesystems()),
            "### Stacks of storage\n\nDisks are raw images, and passphrases given with `--key`.\n",
            _table(("stack", "made with", "disks", "`-m`", "files", "read", "list"), _stacks()),
            "### Systems\n\nMounted with `-i`; those further below at once with `--all`, and not compared by `list`.\n",
            _table(("system", "files", "read", "list"), _systems()),
            _table(("system of one small disk", "files"), _families()),
            "### Where `guestmount-py list` tells otherwise\n",
            _table(("list", "of", "virt-filesystems --all --long --uuid", "guestmount-py list", "why"), _reasons()),
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _formats() -> Iterable[Sequence[str]]:
    for name, cells in sorted(load()["formats"].items()):
        yield name, _code(cells["said"])


def _filesystems() -> Iterable[Sequence[str]]:
    seen = load()["filesystems"]
    for number, each in enumerate(FILESYSTEMS, start=1):
        cells, mkfs = seen[each.name], each.mkfs.format(image="IMAGE", tree="TREE")
        ways = (cells.get(name, "") for name in _FORMATS)
        yield each.name, _code(mkfs), _code(f"/dev/sda{number}"), cells["files"], *ways, cells["list"]


def _stacks() -> Iterable[Sequence[str]]:
    seen, names = load()["stacks"], devices()
    for each in STACKS:
        cells = seen[each.name]
        ways = " ".join(cells[plane] for plane in ("auto", "qemu", "guest"))
        disks = str(len(each.sizes_mib))
        yield each.name, each.made_with, disks, _code(names[each.name]), cells["files"], ways, cells["list"]


def _systems() -> Iterable[Sequence[str]]:
    for name, cells in load()["systems"].items():
        if name not in FAMILIES:
            yield name, cells["files"], cells["read"], cells["list"]


def _families() -> Iterable[Sequence[str]]:
    seen = load()["systems"]
    for name in sorted(FAMILIES):
        yield name, seen[name]["files"]


def _reasons() -> Iterable[Sequence[str]]:
    for name, reason in REASONS.items():
        of = f"{', '.join(reason.kinds)}: {', '.join(reason.fields)}"
        yield name, of, reason.theirs, reason.ours, reason.why


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def main() -> int:
    """Write the document; return the exit status."""
    DOCUMENT.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
