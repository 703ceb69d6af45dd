"""What all handlers of a mount that writes stand on: which file a name means now, and what its attributes are."""

import stat as modes
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from errno import ENAMETOOLONG, ENOENT, ESTALE
from typing import Final

import pyfuse3
import trio

from guestmount_py.attributes import FOREVER_S, entry_attributes
from guestmount_py.caches import CacheBudget
from guestmount_py.changing_directories import ChangingDirectories
from guestmount_py.config import DEFAULT_CACHE_MIB
from guestmount_py.dircache import Listing
from guestmount_py.drafts import Draft
from guestmount_py.entries import Entry
from guestmount_py.filedata import FileData
from guestmount_py.guest_clock import GuestClock
from guestmount_py.guest_files import GuestFiles
from guestmount_py.guest_space import GuestSpace
from guestmount_py.guest_writing import GuestWriting, change_of
from guestmount_py.host_space import HostSpace
from guestmount_py.inode_numbers import Inode
from guestmount_py.listing_ahead import ListingAhead
from guestmount_py.node_table import Node, NodeTable
from guestmount_py.path_lock import PathLock
from guestmount_py.statistics import Statistics
from guestmount_py.write_behind import WriteBehind
from guestmount_py.written_files import OpenFile, Written, WrittenFiles
from rpc import hot
from rpc.changes import Answer, Change
from rpc.errors import GuestmountError, ProcedureError
from rpc.types import Statns

CAPABILITY: Final = b"security.capability"
_MODE_AT: Final = 2
_NLINK_AT: Final = 3
_SIZE_AT: Final = 7
_CTIME_AT: Final = 14
_NS: Final = 1_000_000_000
NAME_MAX_BYTES: Final = 255
"""Of the filesystems whose names are exact."""
_FOREVER_S: Final = int(FOREVER_S)
_FIELDS: Final = Statns._fields
_IDENTITY_BYTES: Final = 16
"""Of packed attributes: device and inode number."""


class WritingBase(pyfuse3.Operations):
    """A filesystem on a guest that this mount alone changes, so that it knows what it has seen.

    Args:
        writing: the guest's verbs.
        folding: devices of the filesystems that may take two spellings for the same name.

    Attributes:
        space: room on the host, which every change asks for first.

    Invariants: a node's entry tells what the guest would, but for what is pending and for the attributes of ``_stale``
    inodes. No await stands between the answer to a change and the change of what is known.
    """

    supports_dot_lookup = False
    enable_acl = True
    enable_writeback_cache = False

    def __init__(
        self,
        guest: GuestFiles,
        writing: GuestWriting,
        inodes: NodeTable,
        nursery: trio.Nursery,
        statistics: Statistics | None = None,
        cache_mib: int = DEFAULT_CACHE_MIB,
        *,
        folding: Collection[int] = (),
    ) -> None:
        super().__init__()
        statistics = statistics or Statistics()
        budget = CacheBudget(cache_mib << 20, statistics)
        self._guest = guest
        self._inodes = inodes
        inodes.attach(budget)
        self._directories = ChangingDirectories(guest, budget)

        self._files = FileData(guest, inodes, self._directories, nursery, statistics, budget)
        self._writing = writing
        self._nursery = nursery
        self._folding: Final = frozenset(folding)
        self._paths = PathLock()
        self._written = WrittenFiles(inodes)
        self._stale: set[Inode] = set()
        self._capability_asked: tuple[int, int] | None = None
        self._guest_space = GuestSpace(guest)
        self._clock = GuestClock()
        self._linked: dict[Inode, Entry] = {}
        self.behind = WriteBehind(
            writing, inodes, self._paths, self._change_of, self._settled, self._release, self._named
        )
        self._ahead = ListingAhead(guest, self._directories, inodes, self._paths, self.behind, nursery)
        self._listings: dict[int, tuple[Inode, list[Entry]]] = {}
        self._handles: dict[int, OpenFile] = {}
        self._next_handle = 1
        self.space = HostSpace((), trio.lowlevel.checkpoint)

    # ── which file it is ──

    def _where(self, node: Node) -> tuple[bytes, int]:
        """Return a file's path, or the number by which the guest keeps it; with the lock of paths held.

        Raises:
            FUSEError: there is no way to it any more.
        """
        written = self._written.find(node.inode)
        if written is not None and written.kept:
            return b"/", written.kept
        if written is not None and written.is_gone:
            raise pyfuse3.FUSEError(written.unmade_errno or ESTALE)
        return self._inodes.path(node.inode), 0

    def _change_of(self, node: Node, step: Draft) -> Change:
        if step.removes:
            return change_of(node.entry, self._inodes.path(node.inode), 0)
        try:
            return change_of(node.entry, *self._where(node))
        except pyfuse3.FUSEError:
            return change_of(node.entry, b"/", 0)  # which has another inode number, so that nothing happens

    async def _entry(self, parent: Node, name: bytes) -> Entry | None:
        exact = self._has_exact_names(parent)
        if exact and len(name) > NAME_MAX_BYTES:
            raise pyfuse3.FUSEError(ENAMETOOLONG)
        listing = self._directories.cached(parent.inode)
        if listing is not None and exact and name not in listing.by_name:
            return None
        async with self._settled_paths(parent.inode, listing):
            path, size_bytes = self._inodes.path(parent.inode), parent.entry.fields[_SIZE_AT]
            entry = await self._directories.entry(parent.inode, path, size_bytes, name)
        listing = self._directories.cached(parent.inode)
        if entry is not None and listing is not None and name not in listing.by_name:
            self._directories.discard(parent.inode)  # it has another spelling, and could not follow changes by this
        return entry

    def _has_exact_names(self, node: Node) -> bool:
        """Tell whether a file's filesystem takes no two spellings for the same name."""
        return not self._folding or node.entry.fields[0] not in self._folding

    def _place(self, inode: Inode, place: tuple[Inode, bytes]) -> tuple[Inode, bytes]:
        """Return a place by the spelling that we know its file by, of which there may be several for the same name."""
        node = self._inodes.find(inode)
        if node is None or self._has_exact_names(node) or node.parent != place[0]:
            return place
        has_links = node.entry.fields[_NLINK_AT] > 1 and not node.entry.is_directory
        return place if has_links else (node.parent, node.entry.name)

    @asynccontextmanager
    async def _settled_paths(self, directory: Inode, listing: Listing | None) -> AsyncIterator[None]:
        """Use paths when no name is still to come or go in a directory, unless its listing is here."""
        while True:
            if listing is None:
                await self.behind.settle(directory)
            async with self._paths.shared():
                if listing is not None or not self.behind.has_names(directory):
                    yield
                    return

    def _remember(self, entry: Entry, parent: Inode) -> Node:
        """Count a lookup of a directory's entry and return its node."""
        inode = self._inodes.number(entry, parent)
        node, written = self._inodes.find(inode), self._written.find(inode)
        if node is None:
            linked = self._linked.get(inode)
            if linked is not None:
                entry.data, entry.offset, entry.xattrs = linked.data, linked.offset, linked.xattrs
            if written is not None and written.is_gone:
                self._written.begin_again(inode)
            if self._inodes.is_promised(inode):  # though the kernel has forgotten it meanwhile
                self._written.get(inode).is_fresh = True
        elif written is not None and written.is_gone and not written.kept:
            self._inodes.move(node, parent, entry)
            if written.has_others:
                written.is_gone = written.has_others = False
            else:
                self._written.begin_again(inode)
                self._stale.discard(inode)
                self._directories.discard(inode)
        elif self._place(inode, (parent, entry.name)) != (node.parent, node.entry.name):
            self._written.get(inode).aliases.add((parent, entry.name))
        return self._inodes.remember(entry, parent)

    def _names_beside(self, written: Written, *places: tuple[Inode, bytes]) -> set[tuple[Inode, bytes]]:
        """Return the further names of a file to which there is a path: the kernel may have forgotten a directory."""
        return {alias for alias in written.aliases - {*places} if self._inodes.find(alias[0]) is not None}

    # ── attributes ──

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        """Return a file's attributes; the kernel shall ask again for what is not known exactly."""
        attributes = entry_attributes(node.entry, node.inode)
        attributes.generation, attributes.entry_timeout, attributes.attr_timeout = self.validity(node)
        return attributes

    def validity(self, node: Node) -> tuple[int, int, int]:
        """Return a file's generation, and for how many seconds the kernel may keep its name and its attributes."""
        written = self._written.find(node.inode)
        generation = written.generation if written is not None else 0
        # a change by another spelling would not reach what the kernel keeps
        return generation, _FOREVER_S if self._has_exact_names(node) else 0, _FOREVER_S if self._is_exact(node) else 0

    def _is_exact(self, node: Node) -> bool:
        """Tell whether a file's attributes are known exactly."""
        inode = node.inode
        return not (inode in self._stale or self.behind.is_pending(inode) or self.behind.has_names(inode))

    def _adopt(self, node: Node, stat: bytes) -> None:
        """Take in the attributes that a file has now, for all names of it."""
        self._clock.learn(stat)
        written = self._written.find(node.inode)
        if written is not None:
            stat = written.as_told(stat)
        node.entry.data, node.entry.offset = stat, 0
        if written is not None:
            written.changes += 1
            if written.is_gone:
                if written.has_others and node.entry.fields[_NLINK_AT]:
                    self._linked[node.inode] = node.entry  # by whatever name it is found again
                return
        self._directories.update(node.parent, node.entry.name, stat)
        for parent, name in written.aliases if written is not None else ():
            self._directories.update(parent, name, stat)
        fields = node.entry.fields
        if fields[_NLINK_AT] > 1 and not modes.S_ISDIR(fields[_MODE_AT]):
            self._linked[node.inode] = node.entry
        else:
            self._linked.pop(node.inode, None)

    def _settled(self, node: Node, stat: bytes) -> None:
        """Take in the attributes that a file has when all that was promised of it is done."""
        if self.behind.has_names(node.inode):
            return  # in that directory: these may be from before some have come, which others have been told of
        written = self._written.find(node.inode)
        if written is not None:
            written.keep_told(node.entry.fields, stat)
        self._adopt(node, stat)
        if node.entry.is_directory:
            self._stale.discard(node.inode)

    def _named(self, node: Node, step: Draft, place: tuple[Inode, bytes], answer: Answer) -> None:
        """Note what became of a promise that a name comes or goes; by now the node may be another file's."""
        parent, name = place
        if step.creates and any(answer.stat):
            node.entry.data = answer.stat[:_IDENTITY_BYTES] + node.entry.data[_IDENTITY_BYTES:]
            self._inodes.keep_promised(node)
        elif step.creates:
            self._directories.change(parent, name, None)
            written = self._written.get(node.inode)
            written.is_gone, written.unmade_errno = True, answer.errno
        elif answer.errno:
            self._directories.discard(parent)
        if answer.errno and not any(answer.stat):  # the kernel thinks otherwise of the name
            pyfuse3.invalidate_entry_async(parent, pyfuse3.FileNameT(name), ignore_enoent=True)
        directory = self._inodes.find(parent)
        if directory is not None:
            self._stale.add(parent)
            around = self._written.get(parent)
            around.changes += 1
            if not (self.behind.has_names(parent) or around.is_gone):
                self.behind.draft(directory)  # which tells, with the next changes, what the directory is now

    def _moment(self, *nodes: Node) -> tuple[int, int]:
        """Return when files change that are promised to, in seconds and nanoseconds: later than when they did last."""
        last_ns = (node.entry.fields[_CTIME_AT] * _NS + node.entry.fields[_CTIME_AT + 1] for node in nodes)
        return divmod(max(self._clock.now_ns(), *(changed_ns + 1 for changed_ns in last_ns)), _NS)

    def _estimate(self, node: Node, **changes: int) -> None:
        """Note what attributes a file will have, by the names of ``Statns``."""
        fields = list(node.entry.fields)
        for name, value in changes.items():
            fields[_FIELDS.index(name)] = value
        node.entry.data, node.entry.offset = hot.STATNS.pack(*fields), 0

    async def _is_plenty(self, directory: Node, count: int, files: int = 0) -> bool:
        """Tell whether a directory's filesystem has room for so many bytes and files beside what is promised."""
        if self._is_plenty_now(directory, count, files):
            return True
        async with self._paths.shared():
            path, pending_bytes = self._inodes.path(directory.inode), self.behind.pending_bytes
            return await self._guest_space.is_plenty(directory.entry.fields[0], path, pending_bytes, count, files)

    def _is_plenty_now(self, directory: Node, count: int, files: int = 0) -> bool:
        """Tell the same without asking the guest; False if that is not known."""
        device, pending_bytes = directory.entry.fields[0], self.behind.pending_bytes
        return self._guest_space.is_plenty_now(device, pending_bytes, count, files)

    def _note_stale(self, inode: Inode) -> None:
        """Note that a file's attributes have changed in ways that only the guest can tell."""
        self._stale.add(inode)
        self._capability_asked = None  # nor need the mode be all that is wanted next

    async def _exact(self, node: Node) -> None:
        """See to it that a file's attributes are known exactly."""
        await self.behind.settle(node.inode)
        while node.inode in self._stale:
            written = self._written.get(node.inode)
            before = written.changes
            self._stale.discard(node.inode)
            try:
                stat = await self._asked_attributes(node)
            except pyfuse3.FUSEError:  # it has gone, and these were its attributes
                return
            except ProcedureError as exc:
                if exc.errno == ENOENT:
                    return
                self._stale.add(node.inode)
                raise
            if self._written.find(node.inode) is not written or written.changes != before:
                self._stale.add(node.inode)  # the answer may be older than what is known by now
            elif not self.behind.is_pending(node.inode) and node.inode not in self._stale:
                self._adopt(node, stat)

    async def _asked_attributes(self, node: Node) -> bytes:
        async with self._paths.shared():
            path, kept = self._where(node)
            if kept:
                return (await self._writing.change_one(change_of(node.entry, path, kept))).stat
            found = await self._guest.lstat(path, node.entry.name)
            if found.fields[1] != node.entry.fields[1]:
                raise pyfuse3.FUSEError(ESTALE)
            return found.data

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        """Take back lookups."""
        self.forget_now(inode_list)

    def forget_now(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Take back lookups."""
        for inode, count in inode_list:
            self._inodes.forget(inode, count)
            self._prune(Inode(inode))

    def _release(self, node: Node) -> None:
        """Take back the lookup that a node was held by while something of it was pending."""
        self._inodes.forget(node.inode, 1)
        self._prune(node.inode)

    def _prune(self, inode: Inode) -> None:
        kept = self._pruned(inode)
        if kept:
            self._nursery.start_soon(self._let_go, kept)

    def _pruned(self, inode: Inode) -> int:
        """Forget a file that the kernel does not know any more; return the number by which the guest still keeps it."""
        written = self._written.prune(inode)
        if written is None:
            return 0
        self._files.forget(inode)  # what was fetched of it may be older than it is
        if written.is_gone and not written.has_others:
            self._stale.discard(inode)
        return written.kept

    async def _let_go(self, kept: int) -> None:
        with suppress(GuestmountError):  # then it goes with the appliance
            await self._writing.close_kept(kept)
