"""A system on a LUKS2 device whose key takes more memory than the appliance has unasked. Needs root.

On large machines cryptsetup has keys take a gibibyte; that much is tried by tests/guestmount_py/test_encrypted.py.
"""

from pathlib import Path
from typing import Final

from guestmount_py.sync import SyncGuest
from tests.guests import families
from tests.guests.cache import cached, run
from tests.guests.families import write_family
from tests.guests.mapped import empty_image

KEY: Final = "takes much memory"
UUID: Final = "6c1d2a56-5d3c-4f5e-9d7f-0a4b7f1f2c11"
OPENED: Final = f"/dev/mapper/luks-{UUID}"
_ARGON2: Final = "--pbkdf argon2id --pbkdf-memory 655360 --pbkdf-parallel 1 --pbkdf-force-iterations 4"


def large_key_disk() -> Path:
    """Return a raw image, encrypted as a whole, with the root of a Debian."""

    def build(directory: Path) -> None:
        image, plain, tree = empty_image(directory / "large.img", 32), directory / "plain.img", directory / "tree"
        command = ("cryptsetup", "--batch-mode", "--type", "luks2", *_ARGON2.split(), "--uuid", UUID, "--key-file", "-")
        run(*command, "luksFormat", image, stdin=KEY)
        tree.mkdir()
        write_family("debian", tree)
        run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, plain, "8M")
        with SyncGuest() as guest:
            guest.configure(encrypted=True)
            guest.add_drive(image, format="raw", writable=True)
            guest.add_drive(plain, format="raw")
            guest.launch()
            guest.cryptsetup_open("/dev/sda", KEY, OPENED.rpartition("/")[2])
            guest.copy_device_to_device("/dev/sdb", OPENED)
            guest.shutdown()
        run("rm", "-r", tree, plain)

    recipe = Path(__file__).read_text() + Path(families.__file__).read_text()
    return cached("large-key", recipe, build) / "large.img"
