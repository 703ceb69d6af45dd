"""What a client asks first: which extensions we have."""

from typing import Final

from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import constants, procedures
from rpc.procedures.extensions import HelloArgs
from rpc.types import Hello

_READING: Final = "cover device_map find_systems list_directory map_files read_files resume walk"
_WRITING: Final = (
    "any_protected change_files change_xattr close_kept link_file make_file open_file open_mailbox read_kept "
    "remove_name rename_file sync_file"
)
_EXTENSIONS: Final = [*_READING.split(), *_WRITING.split()]


@handles(procedures.HELLO)
def hello(session: Session, args: HelloArgs) -> Hello:
    """Agree on the longest FileOut chunk of this channel and name the extensions."""
    if args.chunk_max_bytes < constants.CHUNK_MAX_BYTES:
        raise CallError(f"chunk_max_bytes {args.chunk_max_bytes} is below {constants.CHUNK_MAX_BYTES}")
    session.chunk_max_bytes = min(args.chunk_max_bytes, constants.EXTENDED_CHUNK_MAX_BYTES)
    return Hello(constants.EXTENSION_VERSION, session.chunk_max_bytes, _EXTENSIONS)
