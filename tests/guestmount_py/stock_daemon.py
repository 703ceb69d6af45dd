"""guestfsd without our extensions and without what is newer than libguestfs 1.48."""

import sys

from daemon.__main__ import main
from daemon.registry import HANDLERS
from rpc.constants import FIRST_EXTENSION

NEWER = 511

if __name__ == "__main__":
    for number in [number for number in HANDLERS if number >= min(NEWER, FIRST_EXTENSION)]:
        del HANDLERS[number]
    sys.exit(main(sys.argv[1:]))
