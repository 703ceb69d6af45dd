"""Run a mount in the background: the parent returns when the mount is ready, or says what failed."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from guestmount_py.config import MountConfig
from guestmount_py.keys import Ask, forbid_core_dumps
from guestmount_py.log import log_path, logger, open_log
from guestmount_py.mount import serve_mount
from guestmount_py.printable import printable
from guestmount_py.prompt import asking
from rpc.errors import GuestmountError, UsageError

_LINE: Final = b"L"
_READY: Final = b"R"
_ASK: Final = b"A"
_KEY: Final = b"K"
_NO_KEY: Final = b"N"


def run_mount(config: MountConfig) -> int:
    """Mount in the foreground, or in a child; return the exit status.

    The child is forked before trio and qemu start: qemu's life is bound to the thread that starts it.
    """
    if config.keys:
        forbid_core_dumps()
    asker = asking(from_stdin=config.keys_from_stdin, echo=config.echo_keys)
    if config.foreground:
        return _run(config, echo=True, report=_write_line, ready=lambda: None, ask=asker)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        os._exit(_child(config, theirs.detach()))
    theirs.close()
    with ours, ours.makefile("rb") as messages:
        return _parent(child, messages.readline, lambda answer: ours.sendall(answer), asker)


def _parent(child: int, next_message: Callable[[], bytes], answer: Callable[[bytes], None], ask: Ask) -> int:
    """Pass the child's lines on until it is ready or has ended, and its questions: it has no terminal."""
    try:
        while message := next_message():
            if message[:1] == _READY:
                return 0
            text = message[1:].decode("utf-8", "surrogateescape").rstrip("\n")
            if message[:1] == _ASK:
                answer(_answered(ask, text))
            else:
                _write_line(text)
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        raise
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _write_line(f"killed by signal {-code} before the mount was ready")
    return code if code > 0 else 1


def _answered(ask: Ask, prompt: str) -> bytes:
    """Return what the child is told: a key, or why there is none."""
    try:
        kind, text = _KEY, ask(prompt)
    except GuestmountError as exc:
        kind, text = _NO_KEY, str(exc)
    return kind + os.fsencode(text) + b"\n"


def _write_line(text: str) -> None:
    sys.stderr.write(f"guestmount-py: {printable(text)}\n")
    sys.stderr.flush()


def _child(config: MountConfig, parent: int) -> int:
    """Serve the mount, detached; until it is ready what it has to say goes to the parent, and what it has to ask."""

    def tell(kind: bytes, text: str = "") -> None:
        with suppress(BrokenPipeError):
            os.write(parent, kind + printable(text).encode() + b"\n")

    def ask(prompt: str) -> str:
        tell(_ASK, prompt)
        with os.fdopen(os.dup(parent), "rb") as answers:
            answer = answers.readline()
        text = os.fsdecode(answer[1:].removesuffix(b"\n"))
        if answer[:1] != _KEY:
            raise GuestmountError(text or "nobody answers")
        return text

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        tell(_READY)
        os.close(parent)

    os.setsid()
    config = _absolute(config)
    os.chdir("/")
    return _run(config, echo=False, report=lambda text: tell(_LINE, text), ready=ready, ask=ask)


def _absolute(config: MountConfig) -> MountConfig:
    from dataclasses import replace

    return replace(
        config,
        drives=tuple(drive.absolute() for drive in config.drives),
        overlays=tuple(path.absolute() for path in config.overlays),
        mountpoint=config.mountpoint.absolute(),
        pid_file=config.pid_file.absolute() if config.pid_file else None,
        stats=config.stats.absolute() if config.stats else None,
    )


def _run(config: MountConfig, *, echo: bool, report: Callable[[str], None], ready: Callable[[], None], ask: Ask) -> int:
    """Serve the mount and turn what goes wrong into one line and an exit status."""
    log_file: Path | None = None
    is_ready = False

    def on_ready() -> None:
        nonlocal is_ready
        is_ready = True
        if config.pid_file:
            config.pid_file.write_text(f"{os.getpid()}\n")
        if config.ready_fd is not None:
            os.write(config.ready_fd, b"\n")
        ready()

    def tell(text: str) -> None:
        logger.info("%s", text)
        if not is_ready:
            report(text)

    try:
        _check_outputs(config)
        log_file = log_path(config.mountpoint)
        open_log(log_file, verbose=config.verbose, trace=config.trace, echo=echo and config.verbose)
        if config.verbose:
            report(f"the log of this mount is {log_file}")
        trio.run(_serve, config, log_file, tell, on_ready, ask)
    except GuestmountError as exc:
        logger.error("%s", exc)
        if not is_ready:
            report(str(exc))
        return exc.exit_code
    except OSError as exc:
        logger.exception("failed")
        if not is_ready:
            report(f"{exc.filename or 'the system'}: {exc.strerror or exc}")
        return 1
    except Exception:
        logger.exception("this is a bug")
        if not is_ready:
            report(f"an error of its own, please report it: see {log_file}")
        return 1
    finally:
        if config.pid_file and is_ready:
            config.pid_file.unlink(missing_ok=True)
    return 0


def _check_outputs(config: MountConfig) -> None:
    """Insist on what is written when the mount is ready, before anything expensive is done."""
    for option, path in (("--pid-file", config.pid_file), ("--stats", config.stats)):
        if path and not os.access(path.parent, os.W_OK):
            raise UsageError(f"{option} {path}: cannot be written: give a file in a directory of yours")
    if config.ready_fd is not None:
        try:
            os.fstat(config.ready_fd)
        except OSError as exc:
            raise UsageError(f"--fd {config.ready_fd}: not open: give a descriptor that this program inherits") from exc


async def _serve(
    config: MountConfig, log_file: Path, tell: Callable[[str], None], on_ready: Callable[[], None], ask: Ask
) -> None:
    await serve_mount(config, log_file=log_file, report=tell, ready=on_ready, ask=ask)
