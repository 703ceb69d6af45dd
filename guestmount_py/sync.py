"""The handle for plain scripts: the same verbs, blocking."""

import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import trio

from appliance.config import ApplianceConfig
from appliance.state import State
from guestmount_py.events import EventT, Subscription
from guestmount_py.handle import Guest
from guestmount_py.transfers import Download, LocalPath
from guestmount_py.verbs import SyncVerbs
from rpc.errors import StateError
from rpc.procedure import Procedure

P = ParamSpec("P")
T = TypeVar("T")
ArgsT = TypeVar("ArgsT")


class _Thread:
    """A thread that runs trio and, there, one handle."""

    def __init__(self) -> None:
        self.guest = Guest()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guestmount-py", daemon=True)
        self._error: BaseException | None = None
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as exc:  # told to whoever calls next
            self._error = exc
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self._closing = trio.Event()
        async with self.guest, trio.open_nursery() as self.tasks:
            self._started.set()
            await self._closing.wait()
            self.tasks.cancel_scope.cancel()

    def run(self, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end; an exception that strikes the caller meanwhile, such as Ctrl-C, cancels it."""
        scope = trio.CancelScope()

        async def cancellable() -> T:
            with scope:
                return await action()
            raise AssertionError("whoever cancelled waits no more")

        try:
            return trio.from_thread.run(cancellable, trio_token=self.token)
        except trio.RunFinishedError:
            raise StateError("the handle is closed") from self._error
        except KeyboardInterrupt:
            self.soon(scope.cancel)
            raise

    def soon(self, action: Callable[[], object]) -> None:
        """Have something done by the thread, unless it has ended; from any thread, and from signal handlers."""
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(action)

    def close(self) -> None:
        """Close the handle and end the thread."""
        try:
            if self._thread.is_alive():
                self.run(self.guest.close)
        finally:
            self.soon(self._closing.set)
            self._thread.join()
            error, self._error = self._error, None
            if error is not None:
                raise error


class SyncDownload:
    """A transfer from the guest that begins when it is taken; see ``transfers.Download``."""

    def __init__(self, thread: _Thread, download: Download) -> None:
        self._thread = thread
        self._download = download
        self._error: Exception | None = None

    def read(self) -> bytes:
        """Return all of it."""
        return self._thread.run(self._download.read)

    def save(self, target: LocalPath) -> int:
        """Write it to a local file, which is made or emptied first; return the number of bytes."""
        return self._thread.run(functools.partial(self._download.save, target))

    def __enter__(self) -> Iterator[bytes]:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        send, receive = trio.open_memory_channel[bytes](0)
        self._thread.run(functools.partial(self._thread.tasks.start, self._pump, send))
        return self._pieces(receive)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._thread.soon(self._scope.cancel)
        self._thread.run(self._ended.wait)
        if kind is None and self._error is not None:
            raise self._error

    async def _pump(
        self, send: "trio.MemorySendChannel[bytes]", *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take the pieces, in a task of its own, which trio wants for a transfer from start to end."""
        started = False
        try:
            with self._scope:
                async with send, self._download as pieces:
                    started = True
                    task_status.started()
                    async for piece in pieces:
                        await send.send(piece)
        except Exception as exc:
            if not started:
                raise
            self._error = exc  # raised where the pieces are taken
        finally:
            self._ended.set()

    def _pieces(self, receive: "trio.MemoryReceiveChannel[bytes]") -> Iterator[bytes]:
        while True:
            try:
                yield self._thread.run(receive.receive)
            except trio.EndOfChannel:
                break
        self._thread.run(self._ended.wait)
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def _blocking(
    verb: Callable[Concatenate[Guest, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[SyncGuest, P], T]":
    @functools.wraps(verb)
    def blocking(self: "SyncGuest", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(functools.partial(verb, self._thread.guest, *args, **kwargs))

    return blocking


def _at_once(verb: Callable[Concatenate[Guest, P], T]) -> "Callable[Concatenate[SyncGuest, P], T]":
    """Do in the handle's thread what does not wait there."""

    async def act(guest: Guest, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return verb(guest, *args, **kwargs)

    functools.update_wrapper(act, verb)
    return _blocking(act)


class SyncGuest(SyncVerbs):
    """``Guest`` for scripts without trio: a context manager whose verbs return when they are done.

    The handle lives in a thread of its own, where callbacks of subscriptions run; they must not use the handle. Its
    verbs may be called from several threads. Ctrl-C ends the verb that is waited for, and the handle stays usable.
    """

    def __init__(self) -> None:
        self._thread = _Thread()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def state(self) -> State:
        """Return where the handle stands."""
        return self._thread.guest.state

    @property
    def config(self) -> ApplianceConfig:
        """Return drives and settings."""
        return self._thread.guest.config

    @property
    def pid(self) -> int:
        """Return the process id of qemu, in READY."""
        return self._thread.guest.pid

    def subscribe(self, kind: type[EventT], callback: Callable[[EventT], None]) -> Subscription:
        """Call ``callback`` with every event of a kind, in the handle's thread."""
        return self._thread.guest.subscribe(kind, callback)

    def close(self) -> None:
        """Shut down for good; harmless when repeated."""
        self._thread.close()

    def user_cancel(self) -> None:
        """Cancel every transfer under way; to be called from another thread, or a signal handler."""
        self._thread.soon(self._thread.guest.user_cancel)

    def receive(self, procedure: Procedure[ArgsT, None], args: ArgsT) -> SyncDownload:
        """Make a FileOut call, which begins when the download is taken."""
        return SyncDownload(self._thread, self._thread.guest.receive(procedure, args))

    configure = _at_once(Guest.configure)
    add_drive = _at_once(Guest.add_drive)
    forget_drives = _at_once(Guest.forget_drives)
    launch = _blocking(Guest.launch)
    shutdown = _blocking(Guest.shutdown)
    kill_subprocess = _blocking(Guest.kill_subprocess)
    call = _blocking(Guest.call)
    send = _blocking(Guest.send)
    read_file = _blocking(Guest.read_file)
    cat = _blocking(Guest.cat)
    read_lines = _blocking(Guest.read_lines)
    write = _blocking(Guest.write)
    write_append = _blocking(Guest.write_append)
    ls = _blocking(Guest.ls)
    find = _blocking(Guest.find)
    stat = _blocking(Guest.stat)
    lstat = _blocking(Guest.lstat)
    readdir = _blocking(Guest.readdir)
    lstatlist = _blocking(Guest.lstatlist)
    readlinklist = _blocking(Guest.readlinklist)
    lxattrlist = _blocking(Guest.lxattrlist)
    feature_available = _blocking(Guest.feature_available)
