"""Disks that Windows encrypted with BitLocker, which no other program can make. Needs root, and the network once.

They are those that cryptsetup's authors test it with, from its source package: real but for their data, which
are blanked. So an NTFS with a tree is put into them, by our appliance, before the first of BitLocker's own blocks.
"""

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Final

from tests.guests.cache import cached, run
from tests.guests.matrix import appliance

IMAGES: Final = ("bitlk-aes-xts-128", "bitlk-aes-cbc-elephant-128", "bitlk-togo-aes-xts-128")
"""Windows 10, Windows 7, and a removable medium."""
_NTFS_SECTORS: Final = 65_000
_ARCHIVE: Final = "bitlk-images.tar.xz"


def bitlocker_disks() -> Path:
    """Return a directory with ``IMAGES``, what was put into them as ``tree``, and a table that ``keys`` reads."""

    def build(directory: Path) -> None:
        _download(directory / "source")
        inner = ("--wildcards", f"*/tests/{_ARCHIVE}", "--strip-components=2")
        run("tar", "-C", directory, "-xf", next((directory / "source").glob("*.orig.tar.*")), *inner)
        names = [f"bitlk-images/{name}" for name in ("images.conf", *(f"{image}.img" for image in IMAGES))]
        run("tar", "-C", directory, "-xf", directory / _ARCHIVE, "--no-same-owner", "--strip-components=1", *names)
        run("rm", "-r", directory / "source", directory / _ARCHIVE)
        (directory / "tree/below").mkdir(parents=True)
        for size_bytes in (0, 1, 700, 4096, 5_000_001):
            data = bytes(index * 31 % 251 for index in range(size_bytes))
            (directory / "tree/below" / f"size {size_bytes}").write_bytes(data)
        (directory / "tree/naïve-雪").write_text("a name")
        _fill(directory)

    return cached("bitlocker", Path(__file__).read_text(), build)


def keys(image: str) -> tuple[str, str]:
    """Return the password and the recovery password of one of ``IMAGES``."""
    table = ConfigParser()
    table.read(bitlocker_disks() / "images.conf")
    return table[image]["PW"], table[image]["RP"]


def _fill(directory: Path) -> None:
    tree = directory / "tree.tar"
    run("tar", "-C", directory / "tree", "-cf", tree, ".")
    table = ConfigParser()
    table.read(directory / "images.conf")
    with appliance([directory / f"{image}.img" for image in IMAGES], writable=True) as guest:
        for image, disk in zip(IMAGES, guest.list_devices(), strict=True):
            guest.cryptsetup_open(disk, table[image]["PW"], "opened")
            guest.debug("sh", [f"mkntfs --quick --quiet --force /dev/mapper/opened {_NTFS_SECTORS}"])
            guest.mount("/dev/mapper/opened", "/")
            guest.tar_in(tree, "/")
            guest.umount_all()
            guest.cryptsetup_close("/dev/mapper/opened")
        guest.shutdown()
    tree.unlink()


def _download(directory: Path) -> None:
    """Have apt fetch the source package from where this machine's packages come from, with a state of its own."""
    for name in ("lists/partial", "archives/partial", "state", "parts"):
        (directory / name).mkdir(parents=True)
    system = Path("/etc/apt")
    for path in (*system.glob("sources.list"), *system.glob("sources.list.d/*.list"), *system.glob("*/*.sources")):
        text = re.sub(r"^(Types: |)deb(?=\s)", r"\1deb-src", path.read_text(), flags=re.MULTILINE)
        (directory / "parts" / f"{path.stem}{path.suffix}").write_text(text)
    settings = {
        "Dir::State": directory / "state",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache": directory,
        "Dir::Etc::sourcelist": directory / "parts/sources.list",
        "Dir::Etc::sourceparts": directory / "parts",
        "APT::Sandbox::User": "root",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    run("apt-get", *options, "-qq", "update")
    run("env", "-C", directory, "apt-get", *options, "-qq", "--download-only", "--tar-only", "source", "cryptsetup")
