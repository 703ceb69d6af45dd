"""What an exception says on the wire: an errno and one line of text (guestfs-protocol section 2.3)."""

import os
import sys

from daemon.session import CallError
from rpc.errors import LocalProtocolError, RemoteProtocolError


def error_reply(exc: Exception) -> tuple[int, str]:
    """Return errno, 0 for none, and message.

    Anything that no handler foresaw is a bug of ours. It goes to the console with its traceback and is answered like
    any other error: one strange file must not take the appliance down.
    """
    if isinstance(exc, OSError) and exc.strerror:
        where = os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else ""
        return exc.errno or 0, f"{where}: {exc.strerror}" if where else exc.strerror
    if isinstance(exc, CallError | LocalProtocolError | RemoteProtocolError):
        return 0, str(exc)
    if isinstance(exc, MemoryError):
        return 0, "the appliance has not enough memory for this call"
    sys.excepthook(type(exc), exc, exc.__traceback__)
    return 0, f"a bug in guestfsd: {type(exc).__name__}: {exc}"
