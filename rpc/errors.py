"""The one tree of errors; every package raises from it, and each class owns its exit status.

GuestmountError
├─ UsageError             a bad option or configuration                    exit 2
├─ StateError             an action in the wrong state: the caller's bug
├─ DriveError             an image that cannot be attached
├─ LaunchError            the appliance did not start
│  ├─ LaunchTimeout       … in time
│  └─ ImageError          kernel, initrd or root missing, or their build failed
├─ ProtocolError
│  ├─ LocalProtocolError  we were about to send something illegal
│  └─ RemoteProtocolError the peer's bytes are wrong; the connection is finished
├─ ConnectionLost         the appliance went away                          → EIO
└─ ProcedureError         the daemon's error reply                         → its errno
"""

import errno as errno_module
from typing import ClassVar


class GuestmountError(Exception):
    """Report what failed, on what, and what to do, in one line."""

    exit_code: ClassVar[int] = 1


class UsageError(GuestmountError):
    """Report a bad option or configuration."""

    exit_code: ClassVar[int] = 2


class StateError(GuestmountError):
    """Report an action that is illegal in the present state: a bug of whoever asked for it."""


class DriveError(GuestmountError):
    """Report an image that is missing, unreadable, damaged or unsafe to attach."""


class LaunchError(GuestmountError):
    """Report an appliance that did not start."""


class LaunchTimeout(LaunchError):
    """Report an appliance that said nothing within its time."""


class ImageError(LaunchError):
    """Report an appliance whose kernel, initrd or root is missing or could not be built."""


class ProtocolError(GuestmountError):
    """Group the two protocol errors; never raised itself."""


class LocalProtocolError(ProtocolError):
    """Report that we tried to send something illegal or too long."""


class RemoteProtocolError(ProtocolError):
    """Report that the peer's bytes are wrong; the connection is finished."""


class ConnectionLost(GuestmountError):
    """Report that the appliance went away."""


class ProcedureError(GuestmountError):
    """Carry the daemon's error reply to one call.

    Attributes:
        procedure: name of the call, such as ``lstatns``.
        errno: errno of the failure; EINVAL if the daemon named none (as libguestfs's FUSE layer does).
        errno_name: the name as sent, possibly empty.
        message: the daemon's text.
    """

    def __init__(self, procedure: str, errno: int, errno_name: str, message: str) -> None:
        super().__init__(f"{procedure}: {message}")
        self.procedure = procedure
        self.errno = errno or errno_module.EINVAL
        self.errno_name = errno_name
        self.message = message
