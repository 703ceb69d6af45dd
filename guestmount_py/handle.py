"""The library's handle: configure, launch, call, leave."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

import trio

from appliance.config import ApplianceConfig, Drive, RemoteDisk, config_from_environment
from appliance.patience import lone_leaf
from appliance.state import State, StateMachine
from guestmount_py.config import Plane
from guestmount_py.conveniences import Conveniences
from guestmount_py.direct import Images, opened_images
from guestmount_py.events import Events, EventT, StateChanged, Subscription
from guestmount_py.guest_files import GuestFiles
from guestmount_py.guest_writing import GuestWriting
from guestmount_py.mailbox import opened_mailbox
from guestmount_py.mapping import GuestMapping
from guestmount_py.session import Session
from guestmount_py.settings import Settings, changed, with_drive
from guestmount_py.statistics import Statistics
from guestmount_py.transfers import Download, LocalPath, Source, opened
from rpc import procedures
from rpc.arguments import NoArgs
from rpc.errors import GuestmountError, LocalProtocolError, StateError, UsageError
from rpc.procedure import Procedure, Transfer

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")

_SYNC_S: Final = 20.0
_COMPRESSORS: Final = ("compress", "gzip", "bzip2", "xz", "lzop")


class Guest(Conveniences):
    """A handle on the disks of a virtual machine, opened by a small appliance that runs beside us.

    To be used as an async context manager, in one trio run. It is in one of libguestfs's states: in CONFIG drives and
    settings are given; ``launch`` goes through LAUNCHING to READY, where every procedure of the table may be called; it
    is CONFIG again after ``shutdown``, ``kill_subprocess`` or qemu's death, with the same drives and settings, and may
    be launched again. Calls may be made by several tasks at once.

    Drives are only read, unless they are added as writable: what the guest writes goes to an overlay that vanishes with
    the appliance.
    """

    def __init__(self) -> None:
        self._events = Events()
        self._machine = StateMachine(lambda state: self._events.emit(StateChanged(state)))
        self._config = config_from_environment((), verbose=False)
        self._session: Session | None = None
        self._closed = False
        self._nursery: trio.Nursery | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._nursery is not None or self._closed:
            raise StateError("a handle is entered once: make another one")
        self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        self._stack.push_async_exit(self._leave)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await self._stack.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            if error is not None and _leaves(group) == _leaves(error):
                return False  # it is the body's own, and if that is a group, it stays one
            raise lone_leaf(group) from None

    async def _leave(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        self._closed = True
        if self._session is not None:
            self._session.leave()  # an appliance that is hung up on writes everything out, too

    @property
    def state(self) -> State:
        """Return where the handle stands."""
        return self._machine.state

    @property
    def config(self) -> ApplianceConfig:
        """Return drives and settings."""
        return self._config

    @property
    def pid(self) -> int:
        """Return the process id of qemu, in READY."""
        return self._ready("pid").appliance.pid

    @property
    def files(self) -> GuestFiles:
        """Return checked verbs on the guest's files, good for this launch, in READY."""
        session = self._ready("files")
        return GuestFiles(session.pool, extended=session.appliance.extended)

    @asynccontextmanager
    async def images(self, statistics: Statistics, plane: Plane) -> AsyncIterator[Images | None]:
        """Own ways to the drives beside the guest, for as long as nothing is mounted in it or written by it any more.

        None if only the guest shall read, or its daemon cannot tell where files lie.
        """
        session = self._ready("images")
        if plane == "guest" or not session.appliance.extended:
            yield None
            return
        async with opened_images(
            session.appliance, GuestMapping(session.pool), statistics, by_qemu=plane == "qemu"
        ) as images:
            yield images

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[GuestWriting]:
        """Own verbs that change the guest's files, good for this launch, in READY."""
        session = self._ready("writing")
        if not session.appliance.extended:
            from guestmount_py.standard_writing import standard_writing

            yield await standard_writing(session.pool)
            return
        async with opened_mailbox(session.appliance, session.pool) as mailbox:
            yield GuestWriting(session.pool, mailbox)

    def subscribe(self, kind: type[EventT], callback: Callable[[EventT], None]) -> Subscription:
        """Call ``callback`` with every event of a kind; ``guestmount_py.events`` says which, and what it may do."""
        return self._events.subscribe(kind, callback)

    def configure(self, **settings: Unpack[Settings]) -> None:
        """Change settings; those not named stay as they are, at first as libguestfs's environment variables say.

        Raises:
            StateError: not in CONFIG.
            UsageError: a value is impossible.
        """
        self._must_be(State.CONFIG, "configure")
        self._config = changed(self._config, settings)

    def add_drive(
        self,
        path: LocalPath | RemoteDisk,
        *,
        format: str | None = None,  # noqa: A002  # libguestfs's name for it
        blocksize_bytes: int | None = None,
        writable: bool = False,
        snapshot: str | None = None,
        key: str | None = None,
    ) -> None:
        """Add a disk image, the next of /dev/sda, /dev/sdb, …; it is looked at by ``launch``.

        Args:
            path: a file or block device; or a server's disk, see ``guestmount_py.uri.parse_image``.
            format: such as ``raw`` or ``qcow2``; None: find out, and open no other file that the image names.
            blocksize_bytes: sector size that the guest sees, 512 or 4096; None for qemu's default.
            writable: let the guest write to the image, which nobody else may use meanwhile.
            snapshot: show this internal snapshot of a qcow2 image.
            key: of an encrypted qcow2 image.

        Raises:
            StateError: not in CONFIG.
            UsageError: there are as many as can be, or no disk has such sectors.
        """
        self._must_be(State.CONFIG, "add_drive")
        drive = Drive(
            path=path if isinstance(path, RemoteDisk) else Path(path),
            format=format,
            blocksize_bytes=blocksize_bytes,
            writable=writable,
            snapshot=snapshot,
            key=key,
        )
        self._config = with_drive(self._config, drive)

    def forget_drives(self) -> None:
        """Begin again without drives, in CONFIG."""
        self._must_be(State.CONFIG, "forget_drives")
        self._config = replace(self._config, drives=())

    async def launch(self) -> None:
        """Start the appliance, built first if there is none; READY when it returns, CONFIG if it raises.

        Cancellation: nothing is left of the launch.

        Raises:
            StateError: not in CONFIG, or not inside ``async with``.
            UsageError: there is no drive.
            DriveError: an image cannot be attached.
            LaunchError: it did not start, with the last it said; LaunchTimeout: within ``launch_timeout_s``.
        """
        self._must_be(State.CONFIG, "launch")
        if self._nursery is None:
            raise StateError("launch: enter the handle first: 'async with Guest() as g'")
        if not self._config.drives:
            raise UsageError("launch: there is no drive: call add_drive first")
        while self._session is not None and not self._session.ended.is_set():
            if self._session.is_launching:
                raise StateError("launch: another launch is under way")
            await self._session.ended.wait()
        self._must_be(State.CONFIG, "launch")  # still: others may have closed it meanwhile
        session = self._session = Session(self._events)
        await self._nursery.start(partial(session.run, self._config, self._machine))

    async def shutdown(self) -> None:
        """Write everything out, unmount and power off; back in CONFIG when it returns, where it does nothing.

        Raises:
            GuestmountError: the guest could not write everything, or qemu failed at the end.
        """
        session = self._session
        if session is None or session.ended.is_set():
            return
        if session.orderly:
            await session.ended.wait()
            return
        session.orderly = True
        try:
            if self.state is State.READY:
                writes = any(drive.writable for drive in self._config.drives)
                with trio.move_on_after(math.inf if writes else _SYNC_S):
                    async with session.calling("shutdown"):
                        await session.pool.call(procedures.INTERNAL_AUTOSYNC, NoArgs())
        finally:
            session.leave()
        await session.ended.wait()
        if session.status:
            raise GuestmountError(f"shutdown: {session.last_words}")

    async def kill_subprocess(self) -> None:
        """Kill qemu, whatever it does; back in CONFIG when it returns.

        Raises:
            StateError: there is none.
        """
        session = self._session
        if session is None or session.ended.is_set():
            raise StateError("kill_subprocess: there is no subprocess: the handle is not launched")
        session.kill()
        await session.ended.wait()

    async def close(self) -> None:
        """Shut down for good; done by the end of ``async with``, and harmless when repeated."""
        self._closed = True
        await self.shutdown()

    def user_cancel(self) -> None:
        """Cancel every transfer under way: whoever makes it gets a ProcedureError with EINTR.

        A trio cancel scope does the same to one transfer.
        """
        if self._session is not None:
            self._session.cancel_transfers()

    async def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT) -> RetT:
        """Make a call without file transfer and return its result.

        Raises:
            StateError: not in READY.
            LocalProtocolError: the arguments do not fit.
            ProcedureError: the daemon answered with an error.
            ConnectionLost: the appliance went away; the state is CONFIG.
            RemoteProtocolError: the answer is wrong.
        """
        _must_transfer(procedure, Transfer.NONE)
        session = self._ready(procedure.name)
        async with session.calling(procedure.name):
            return await session.pool.call(procedure, args)

    def receive(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> Download:
        """Make a FileOut call, which begins when the download is taken; it raises what ``call`` raises."""
        _must_transfer(procedure, Transfer.FILE_OUT)
        return Download(partial(self._received, procedure, args))

    @asynccontextmanager
    async def _received(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> AsyncIterator[AsyncIterator[bytes]]:
        session = self._ready(procedure.name)
        async with session.calling(procedure.name):
            with session.transfer(procedure.name):
                async with session.pool.download(procedure, args) as pieces:
                    yield pieces

    async def send(
        self, procedure: Procedure[ArgsT, RetT], args: ArgsT, source: Source, size_hint_bytes: int = 0
    ) -> RetT:
        """Make a FileIn call with a local file or what an iterator yields; raises what ``call`` raises.

        If the source raises, the transfer is cancelled and the error passes on.

        Args:
            procedure: a call with a FileIn parameter.
            args: its arguments.
            source: where the file comes from.
            size_hint_bytes: its size, if known, for progress events; that of a local file is found out.
        """
        _must_transfer(procedure, Transfer.FILE_IN)
        _must_not_break_a_stock_daemon(procedure, args)
        session = self._ready(procedure.name)
        async with session.calling(procedure.name), opened(source) as (pieces, size_bytes):
            with session.transfer(procedure.name):
                return await session.pool.upload(procedure, args, pieces, size_hint_bytes or size_bytes)
        raise AssertionError("a transfer that was cancelled has raised")

    def _ready(self, name: str) -> Session:
        self._must_be(State.READY, name)
        assert self._session is not None
        return self._session

    def _must_be(self, wanted: State, name: str) -> None:
        if self._closed:
            raise StateError(f"{name}: the handle is closed")
        if self.state is not wanted:
            advice = {State.CONFIG: "before launch", State.READY: "after launch"}[wanted]
            raise StateError(f"{name} is possible in state {wanted.name}, {advice}: this handle is {self.state.name}")


def _leaves(error: BaseException) -> list[int]:
    """Name the errors in a group, which trio makes anew on its way through nurseries, by their identities."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [id(error)]


def _must_transfer(procedure: Procedure[Any, Any], wanted: Transfer) -> None:
    if procedure.transfer is not wanted:
        way = {Transfer.NONE: "call", Transfer.FILE_IN: "send", Transfer.FILE_OUT: "receive"}[procedure.transfer]
        raise TypeError(f"{procedure.name} is made with Guest.{way}")


def _must_not_break_a_stock_daemon(procedure: Procedure[Any, Any], args: Any) -> None:
    """Refuse what libguestfs's daemon answers without taking the file that follows (guestfs-protocol section 3.6)."""
    offset, compress = getattr(args, "offset", 0), getattr(args, "compress", None)
    if isinstance(offset, int) and offset < 0:
        raise LocalProtocolError(f"{procedure.name}: offset {offset} is negative")
    if compress is not None and compress not in _COMPRESSORS:
        raise LocalProtocolError(f"{procedure.name}: compress {compress!r}: known are {', '.join(_COMPRESSORS)}")
