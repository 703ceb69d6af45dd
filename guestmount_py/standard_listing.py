"""A directory listed with libguestfs's own calls, for a daemon that has no others."""

import errno
from collections.abc import Sequence
from typing import Final

from guestmount_py.entries import Entry, Xattrs, entry_of, terminated_names
from rpc import hot, procedures
from rpc.arguments import PathNamesArgs
from rpc.codec import FileName, GuestPath
from rpc.errors import ProcedureError, RemoteProtocolError
from rpc.pool import ChannelPool
from rpc.procedures.directories import ReaddirArgs

_NAMES_PER_CALL: Final = 1000
_NAMES_MAX_BYTES: Final = 1 << 30


class StandardListing:
    """List directories.

    Args:
        pool: channels to the daemon.
    """

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool
        self._streams_names = True

    async def list_directory(self, path: bytes) -> list[Entry]:
        """Return a directory's entries: the names, then attributes, xattrs and targets in batches."""
        names = [name for name in await self._names(path) if name not in (b".", b"..")]
        entries: list[Entry] = []
        for start in range(0, len(names), _NAMES_PER_CALL):
            batch = names[start : start + _NAMES_PER_CALL]
            args = PathNamesArgs(GuestPath(path), [FileName(name) for name in batch])
            stats = await self._pool.call(procedures.INTERNAL_LSTATNSLIST, args)
            targets = await self._pool.call(procedures.INTERNAL_READLINKLIST, args)
            xattrs = await self._xattr_batch(args)
            if not len(stats) == len(targets) == len(xattrs) == len(batch):
                raise RemoteProtocolError(f"{len(stats)} attributes where {len(batch)} were asked for")
            for name, stat, target, pairs in zip(batch, stats, targets, xattrs, strict=True):
                entry = entry_of(name, stat)
                entry.target, entry.xattrs = target or None, pairs  # an unreadable link has an empty one
                entries.append(entry)
        return entries

    async def add_xattrs(self, path: bytes, entries: Sequence[Entry]) -> None:
        """Give entries of one directory the extended attributes that they have."""
        for start in range(0, len(entries), _NAMES_PER_CALL):
            batch = entries[start : start + _NAMES_PER_CALL]
            found = await self._xattr_batch(PathNamesArgs(GuestPath(path), [FileName(entry.name) for entry in batch]))
            if len(found) != len(batch):
                raise RemoteProtocolError(f"attributes of {len(found)} files where {len(batch)} were asked for")
            for entry, xattrs in zip(batch, found, strict=True):
                entry.xattrs = xattrs

    async def _names(self, path: bytes) -> list[bytes]:
        args = ReaddirArgs(GuestPath(path))
        if self._streams_names:
            try:
                found: list[bytes] = []
                async with self._pool.download(procedures.INTERNAL_READDIR, args) as pieces:
                    async for piece in pieces:
                        found.extend(entry.name for entry in hot.decode_dirents(piece))
            except ProcedureError as exc:
                if exc.errno_name:
                    raise
            else:
                return found
        self._streams_names = False  # a daemon before 1.49.1, which is asked once
        try:
            return [entry.name for entry in await self._pool.call(procedures.READDIR, args)]
        except ProcedureError as exc:
            if exc.errno_name:
                raise
        # libguestfs's readdir cannot answer with more than one message; its ls0 can.
        return await self._streamed_names(args)

    async def _streamed_names(self, args: ReaddirArgs) -> list[bytes]:
        text = bytearray()
        async with self._pool.download(procedures.LS0, args) as pieces:
            async for piece in pieces:
                text += piece
                if len(text) > _NAMES_MAX_BYTES:
                    raise RemoteProtocolError(f"names of more than {_NAMES_MAX_BYTES} bytes")
        return terminated_names(bytes(text))

    async def _xattr_batch(self, args: PathNamesArgs) -> list[Xattrs | None]:
        """Take the marker form of ``internal_lxattrlist`` apart (guestfs-protocol section 5.6)."""
        try:
            rows = await self._pool.call(procedures.INTERNAL_LXATTRLIST, args)
        except ProcedureError as exc:
            if exc.errno == errno.ENOTSUP:
                return [()] * len(args.names)
            if exc.errno_name or len(args.names) == 1:
                raise
            # Attributes may be long: those of fewer files may fit in a message.
            half = len(args.names) // 2
            parts = [args._replace(names=names) for names in (args.names[:half], args.names[half:])]
            return [xattrs for part in parts for xattrs in await self._xattr_batch(part)]
        groups: list[list[tuple[bytes, bytes]] | None] = []
        for row in rows:
            if not row.attrname:
                groups.append([] if row.attrval else None)
            elif groups and groups[-1] is not None:
                groups[-1].append((row.attrname, row.attrval))
            else:
                raise RemoteProtocolError("an extended attribute belongs to no file")
        return [None if group is None else tuple(group) for group in groups]
