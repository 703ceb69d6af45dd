"""What an exception of a handler is on the wire (guestfs-protocol section 2.3)."""

import errno
import os

import pytest

from daemon.replies import error_reply
from daemon.session import CallError
from rpc import framing
from rpc.arguments import PathArgs
from rpc.codec import GuestPath
from rpc.errors import LocalProtocolError, ProcedureError
from rpc.events import Message
from rpc.procedures import LGETXATTR, LSTATNS
from rpc.procedures.xattrs import GetxattrArgs
from tests.daemon.guestfsd import Guestfsd
from tests.rpc.ends import Ends


def on_the_wire(exc: Exception) -> tuple[str, str]:
    """Return the errno name and the text that a client gets."""
    ends = Ends()
    header = ends.called(LSTATNS, PathArgs(GuestPath(b"/f")))
    (reply,) = ends.to_client(ends.daemon.send_error(header.proc, header.serial, *error_reply(exc)))
    assert isinstance(reply, Message)
    return framing.decode_error(reply.body)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ENOENT, "ENOENT"),
        (errno.EOPNOTSUPP, "ENOTSUP"),
        (errno.EWOULDBLOCK, "EAGAIN"),
        (errno.EDEADLK, "EDEADLOCK"),
        (133, "EINVAL"),  # EHWPOISON, which libguestfs does not know
    ],
)
def test_errno_crosses_by_the_name_that_the_library_knows(number: int, name: str) -> None:
    assert on_the_wire(OSError(number, os.strerror(number))) == (name, os.strerror(number))


@pytest.mark.parametrize("exc", [CallError("not a umask"), LocalProtocolError("not a umask")])
def test_refusal_of_our_own_has_no_errno(exc: Exception) -> None:
    assert on_the_wire(exc) == ("", "not a umask")


def test_file_is_named() -> None:
    exc = OSError(errno.EACCES, os.strerror(errno.EACCES), b"/caf\xe9")
    assert on_the_wire(exc) == ("EACCES", "/caf\udce9: Permission denied")


def test_attribute_of_an_unknown_namespace_is_not_supported(daemon: Guestfsd) -> None:
    with pytest.raises(ProcedureError) as caught:
        daemon.call(LGETXATTR, GetxattrArgs(GuestPath(b"/hello"), "nonsense"))
    assert (caught.value.errno_name, caught.value.errno) == ("ENOTSUP", errno.ENOTSUP)
