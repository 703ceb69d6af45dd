"""guestfsd that opens small files of a directory, asked for together, or renames, only when there is a file ``/now``.

It makes a file ``/asked`` before it waits.
"""

import os
import sys
import time
from typing import Any, Final

from daemon import files, namespace
from daemon.__main__ import main
from daemon.registry import HANDLERS
from daemon.session import Pieces, Session
from rpc import procedures

_LIMIT_S: Final = 20.0
_READ, _RENAME = procedures.READ_FILES.number, procedures.RENAME_FILE.number


def _await_now(session: Session) -> None:
    with session.sysroot:
        os.close(os.open("/asked", os.O_CREAT | os.O_WRONLY))
        end_s = time.monotonic() + _LIMIT_S
        while not os.path.lexists("/now") and time.monotonic() < end_s:
            time.sleep(0.01)


def _read_late(session: Session, args: Any) -> Pieces:
    _await_now(session)
    yield from files.read_files(session, args)


def _rename_late(session: Session, args: Any) -> Any:
    _await_now(session)
    return namespace.rename_file(session, args)


if __name__ == "__main__":
    for number, function in ((_READ, _read_late), (_RENAME, _rename_late)):
        HANDLERS[number] = HANDLERS[number]._replace(function=function)
    sys.exit(main(sys.argv[1:]))
