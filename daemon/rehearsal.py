"""Before the daemon is saved: do once what every mount does, so that no restored copy does it for the first time.

What that leaves behind is imported modules, derived codecs, and programs and libraries in the kernel's cache.
"""

import gc
import itertools
import socket
from typing import Any

from daemon.assembly import forget
from daemon.channel import Channel
from daemon.devices import own_disk
from daemon.guest_view import GuestView
from daemon.handlers import handler_of
from daemon.index import NUMBERS
from daemon.libblkid import probed
from daemon.libmount import mounted
from daemon.resume import await_disks
from daemon.server import Server
from daemon.session import Session
from daemon.sysroot import Sysroot
from daemon.systems import system_of
from rpc import constants, procedures
from rpc.arguments import NoArgs, PathArgs
from rpc.codec import FileName, GuestPath, UInt32
from rpc.connection import Connection, Role
from rpc.procedure import Procedure
from rpc.procedures.extensions import HelloArgs, MapFilesArgs, ReadFilesArgs, WalkArgs


def rehearse() -> None:
    """Make the calls of a mount on the appliance's own root, which is mounted for that in the guest's place."""
    for number in itertools.chain(*NUMBERS.values()):
        handler_of(number)
    await_disks([])
    sysroot = Sysroot()
    root = f"/dev/{own_disk()}"
    # First have the type looked for, as for a guest's; that is ext2, which it cannot be mounted as twice.
    if not any(mounted(root, sysroot.path, "ro,nodev,nosuid", vfstype) for vfstype in ("", "ext4")):
        raise OSError("cannot mount the appliance's own root once more")
    calls: list[tuple[Procedure[Any, Any], Any]] = [
        (procedures.HELLO, HelloArgs(UInt32(constants.EXTENSION_VERSION), UInt32(constants.EXTENDED_CHUNK_MAX_BYTES))),
        (procedures.LSTATNS, PathArgs(GuestPath(b"/"))),
        (procedures.LIST_DIRECTORY, PathArgs(GuestPath(b"/"))),
        (procedures.WALK, WalkArgs([GuestPath(b"/")], UInt32(1), by_name=False)),
        (procedures.READ_FILES, ReadFilesArgs(GuestPath(b"/"), [FileName(b"init")], UInt32(65536))),
        (procedures.MAP_FILES, MapFilesArgs([GuestPath(b"/")], b"init")),
        (procedures.DEVICE_MAP, PathArgs(GuestPath(b"/"))),
        (procedures.FIND_SYSTEMS, NoArgs()),  # of the disks, which are none; it unmounts first
    ]
    probed(root)
    system_of(GuestView(Session(sysroot)))
    for procedure, args in calls:
        _call(Session(sysroot), procedure, args)
    forget()  # the calls had no disks to assemble anything of; a restored machine has
    gc.collect()
    gc.freeze()


def _call(session: Session, procedure: Procedure[Any, Any], args: Any) -> None:
    """Serve a client that makes one call and leaves without its answer."""
    client = Connection(Role.CLIENT)
    client.receive_data(Connection(Role.DAEMON).send_launch())
    client.next_event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(client.send_call(procedure, args))
        theirs.shutdown(socket.SHUT_WR)
        Server(session, Channel(ours.fileno())).serve()
