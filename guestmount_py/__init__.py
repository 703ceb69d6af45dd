"""Open the disks of virtual machines: as a library, and as a FUSE filesystem.

library: handle → settings, session → observed_pool → rpc.pool, appliance.launch; verbs, transfers, events; sync.
mount: cli → mount → handle; operations → inodes, dircache, filedata → guest_files → rpc.pool.

The public names are imported when they are first asked for: programs start with what they need, and the library needs
no pyfuse3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from appliance.state import State as State
    from guestmount_py.handle import Guest as Guest
    from guestmount_py.sync import SyncGuest as SyncGuest
    from rpc.errors import ConnectionLost as ConnectionLost
    from rpc.errors import DriveError as DriveError
    from rpc.errors import GuestmountError as GuestmountError
    from rpc.errors import ImageError as ImageError
    from rpc.errors import LaunchError as LaunchError
    from rpc.errors import LaunchTimeout as LaunchTimeout
    from rpc.errors import LocalProtocolError as LocalProtocolError
    from rpc.errors import ProcedureError as ProcedureError
    from rpc.errors import RemoteProtocolError as RemoteProtocolError
    from rpc.errors import StateError as StateError
    from rpc.errors import UsageError as UsageError

VERSION: Final = "0.1.0"
_HOMES: Final = {
    "Guest": "guestmount_py.handle",
    "SyncGuest": "guestmount_py.sync",
    "State": "appliance.state",
    "ConnectionLost": "rpc.errors",
    "DriveError": "rpc.errors",
    "GuestmountError": "rpc.errors",
    "ImageError": "rpc.errors",
    "LaunchError": "rpc.errors",
    "LaunchTimeout": "rpc.errors",
    "LocalProtocolError": "rpc.errors",
    "ProcedureError": "rpc.errors",
    "RemoteProtocolError": "rpc.errors",
    "StateError": "rpc.errors",
    "UsageError": "rpc.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
