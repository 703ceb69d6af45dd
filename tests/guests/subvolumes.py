"""A disk with what systems do with subvolumes of btrfs: snapshots, a restored root, a default. Needs root.

Of each partition the label is a key of ``PARTITIONS``.
"""

from pathlib import Path
from typing import Final

from tests.guests import disk, systems
from tests.guests.cache import cached, run
from tests.guests.disk import create_disk, loop_device, mounted, partition
from tests.guests.systems import DEBIAN, ELF, FEDORA, write_tree

PARTITIONS: Final = ("restored", "opensuse", "data")
LONG: Final = "%" * 100 + "é" * 77 + "x"
"""A name that is as long as names may be, and longer once it is escaped."""
_RESTORED_FSTAB: Final = "LABEL=restored / btrfs subvol=@ 0 0\nLABEL=restored /home btrfs subvol=/@home 0 0\n"
_OPENSUSE_FSTAB: Final = "LABEL=opensuse / btrfs defaults 0 0\n" + "".join(
    f"LABEL=opensuse /{name} btrfs subvol=/@/{name} 0 0\n" for name in ("home", ".snapshots")
)
_RELEASE: Final = 'NAME="openSUSE Leap"\nID="opensuse-leap"\nVERSION_ID="15.5"\n'


def subvolumes_of_all_kinds() -> Path:
    """Return a raw image.

    ``restored``: the root was moved to ``@old``, a snapshot of it became ``@``; ``opensuse``: the default subvolume is
    the root, a snapshot of it is below one that is mounted in it; ``data``: no system, and a default subvolume.
    """

    def build(directory: Path) -> None:
        image = directory / "subvolumes.img"
        create_disk(image, [128, 128, 128])
        for number, (label, fill) in enumerate(
            zip(PARTITIONS, (_fill_restored, _fill_opensuse, _fill_data), strict=True), start=1
        ):
            with loop_device(image, number, read_only=False) as device:
                run("mkfs.btrfs", "-q", "-L", label, device)
                with mounted(device) as top:
                    fill(top)

    return cached("subvolumes-of-all-kinds", _recipe(), build) / "subvolumes.img"


def clones() -> list[Path]:
    """Return raw images: an XFS with a file, a copy of it, a btrfs, a copy of that."""

    def build(directory: Path) -> None:
        tree = directory / "tree"
        write_tree(tree, {"file": "cloned"})
        xfs, btrfs = directory / "xfs.img", directory / "btrfs.img"
        for image, size_mib in ((xfs, 320), (btrfs, 128)):
            run("truncate", f"--size={size_mib}M", image)
        proto = directory / "proto"
        proto.write_text(f"/none\n0 0\nd--755 0 0\nfile ---644 0 0 {tree}/file\n$\n")
        run("mkfs.xfs", "-q", "-p", proto, xfs)
        run("mkfs.btrfs", "-q", "--rootdir", tree, btrfs)
        for image in (xfs, btrfs):
            run("cp", "--sparse=always", image, image.with_suffix(".copy"))

    directory = cached("clones", _recipe(), build)
    return [directory / name for name in ("xfs.img", "xfs.copy", "btrfs.img", "btrfs.copy")]


def linked_disk() -> Path:
    """Return a raw image: sda1 is a root in which fstab mounts sda2 and sda3 behind links, sda4 is another root."""

    def build(directory: Path) -> None:
        image = directory / "linked.img"
        create_disk(image, [16, 16, 16, 16])
        fstab = "LABEL=home /home ext4\nLABEL=data /out ext4\n"
        root: dict[str, str | bytes] = {"etc/os-release": DEBIAN, "etc/fstab": fstab, "bin/sh": ELF, "srv/home/": ""}
        other: dict[str, str | bytes] = {"etc/os-release": FEDORA, "bin/sh": ELF}
        contents: tuple[tuple[str, dict[str, str | bytes]], ...] = (
            ("root", root),
            ("home", {"me/file": "at home"}),
            ("data", {"file": "data"}),
            ("other", other),
        )
        for number, (label, files) in enumerate(contents, start=1):
            where = partition(image, number)
            tree = directory / label
            write_tree(tree, files)
            if label == "root":
                (tree / "home").symlink_to("/srv/home")
                (tree / "out").symlink_to("../../../systems/sda4/etc")
            words = ("-L", label, "-E", f"offset={where.start_bytes}", "-d", tree)
            run("mke2fs", "-q", "-F", "-t", "ext4", *words, image, f"{where.size_bytes >> 10}k")

    return cached("linked", _recipe(), build) / "linked.img"


def _make(*places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        run("btrfs", "subvolume", "create", place)


def _copy(source: Path, place: Path, *words: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    run("btrfs", "subvolume", "snapshot", *words, source, place)


def _fill_restored(top: Path) -> None:
    _make(top / "@", top / "@home")
    root: dict[str, str | bytes] = {
        "etc/os-release": DEBIAN,
        "etc/fstab": _RESTORED_FSTAB,
        "bin/sh": ELF,
        "home/": "",
    }
    write_tree(top / "@", root)
    write_tree(top / "@home", {"me/file": "at home"})
    for number in range(1, 4):
        write_tree(top / "@", {"etc/hostname": f"state{number}\n"})
        _copy(top / "@", top / f"snapshots/{number}/@", "-r")
        _copy(top / "@home", top / f"snapshots/{number}/@home", "-r")
    write_tree(top / "@", {"etc/hostname": "broken\n"})
    (top / "@").rename(top / "@old")
    _copy(top / "snapshots/2/@", top / "@")
    write_tree(top, {"beside": "the subvolumes", "snapshots/note": "kept"})


def _fill_opensuse(top: Path) -> None:
    root, snapshots = top / "@/.snapshots/1/snapshot", top / "@/.snapshots"
    _make(top / "@", snapshots, top / "@/home", root, top / LONG)
    tree: dict[str, str | bytes] = {
        "etc/os-release": _RELEASE,
        "etc/fstab": _OPENSUSE_FSTAB,
        "bin/sh": ELF,
        "home/": "",
        ".snapshots/": "",
    }
    write_tree(root, tree)
    write_tree(top / "@/home", {"me/file": "at home"})
    write_tree(top / LONG, {"file": "of a long name"})
    _copy(root, snapshots / "2/snapshot", "-r")
    run("btrfs", "subvolume", "set-default", root)


def _fill_data(top: Path) -> None:
    _make(top / "chosen")
    write_tree(top, {"chosen/file": "of the default", "beside": "the default"})
    run("btrfs", "subvolume", "set-default", top / "chosen")


def _recipe() -> str:
    return "\n".join(Path(path).read_text() for path in (__file__, systems.__file__, disk.__file__))
