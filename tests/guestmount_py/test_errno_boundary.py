"""What may leave a handler."""

import errno
import logging

import pyfuse3
import pytest
import trio

from guestmount_py.errno_boundary import answers_errno
from rpc.errors import ConnectionLost, ProcedureError, RemoteProtocolError

_CASES = [
    (pyfuse3.FUSEError(errno.EROFS), errno.EROFS, 0),
    (ProcedureError("lstatns", errno.ENOENT, "ENOENT", "no such file"), errno.ENOENT, 0),
    (ProcedureError("lstatns", 0, "", "no errno"), errno.EINVAL, 0),
    (ProcedureError("lgetxattrs", errno.ENOSYS, "ENOSYS", "would end all such requests"), errno.EIO, 0),
    (ConnectionLost("the appliance went away"), errno.EIO, 0),
    (RemoteProtocolError("lies"), errno.EIO, 1),
    (KeyError("a bug"), errno.EIO, 1),
    (OSError(errno.ENOSPC, "a bug"), errno.EIO, 1),
]


@pytest.mark.parametrize(("error", "number", "log_lines"), _CASES)
async def test_error_becomes_its_errno(
    error: Exception, number: int, log_lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    @answers_errno
    async def handler() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler()
    assert caught.value.errno == number
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * log_lines


async def test_cancellation_passes() -> None:
    @answers_errno
    async def handler() -> None:
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        scope.cancel()
        await handler()
    assert scope.cancelled_caught
