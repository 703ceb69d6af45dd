"""guestmount-py with an encrypted disk opened before anything is mounted, until it has an option for that.

python -m tests.system.unlocked DEVICE KEY NAME PYTHON -m guestmount_py.cli ARGUMENTS…
"""

import sys

from guestmount_py import Guest, cli, mount


def main() -> int:
    """Take our own words from the command line, and run the program."""
    device, key, name = sys.argv[1:4]
    launch = mount._launch

    async def unlock(guest: Guest) -> None:
        await launch(guest)
        await guest.luks_open_ro(device, key, name)

    mount._launch = unlock
    sys.argv = sys.argv[6:]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
