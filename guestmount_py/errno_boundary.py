"""The one place where errors become errno: only FUSEError may leave a handler."""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from rpc.errors import ConnectionLost, DriveError, ProcedureError, ProtocolError

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger("guestmount_py")


def answers_errno(handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Turn what a handler raises into FUSEError: the guest's errno, EIO for a lost or lying appliance or a bug of ours.

    trio.Cancelled, which is no Exception, passes.
    """

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except ProcedureError as exc:
            # Linux takes ENOSYS as: never ask any file again
            raise pyfuse3.FUSEError(errno.EIO if exc.errno == errno.ENOSYS else exc.errno) from exc
        except ConnectionLost as exc:
            raise pyfuse3.FUSEError(errno.EIO) from exc
        except (ProtocolError, DriveError) as exc:
            logger.error("%s: %s", handler.__name__, exc)
            raise pyfuse3.FUSEError(errno.EIO) from exc
        except Exception as exc:
            logger.exception("%s failed: this is a bug", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from exc

    return wrapped
