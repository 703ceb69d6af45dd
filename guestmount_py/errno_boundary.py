"""The one place where errors become errno: only that may reach the kernel."""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from guestmount_py.known_files import UnknownInode
from rpc.errors import ConnectionLost, DriveError, ProcedureError, ProtocolError

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger("guestmount_py")


def errno_of(error: Exception, handler: str) -> int:
    """Return the guest's errno; ESTALE for an unknown inode; EIO for a lost or lying appliance, and for a bug of ours.

    Lies and bugs are logged.

    Args:
        error: what a handler raised.
        handler: its name, for the log.
    """
    if isinstance(error, pyfuse3.FUSEError):
        return error.errno
    if isinstance(error, UnknownInode):
        return errno.ESTALE
    if isinstance(error, ProcedureError):
        return errno.EIO if error.errno == errno.ENOSYS else error.errno  # Linux takes ENOSYS as: never ask again
    if isinstance(error, (ProtocolError, DriveError)):
        logger.error("%s: %s", handler, error)
    elif not isinstance(error, ConnectionLost):
        logger.error("%s failed: this is a bug", handler, exc_info=error)
    return errno.EIO


def answers_errno(handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Turn what a handler raises into FUSEError with ``errno_of``; trio.Cancelled, which is no Exception, passes."""

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as exc:
            raise pyfuse3.FUSEError(errno_of(exc, handler.__name__)) from exc

    return wrapped
