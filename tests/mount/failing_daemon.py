"""guestfsd on a disk with a bad sector: the attributes of every file named ``bad`` cannot be read."""

import errno
import os
import sys
from typing import Any

from daemon.__main__ import main

_lstat = os.lstat


def _failing_lstat(path: Any, **options: Any) -> os.stat_result:
    if os.fsencode(path).rpartition(b"/")[2] == b"bad":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return _lstat(path, **options)


if __name__ == "__main__":
    os.lstat = _failing_lstat
    sys.exit(main(sys.argv[1:]))
