"""A log file for each mount."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from guestmount_py.printable import printable
from rpc.errors import GuestmountError

_LINE_MAX_BYTES: Final = 4096
logger: Final = logging.getLogger("guestmount_py")
logger.addHandler(logging.NullHandler())  # until there is a log, nothing may go to standard error by default


class _OneLine(logging.Formatter):
    """Write each message on a line; only a traceback has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, error: Any) -> str:
        return "\n".join(printable(line) for line in super().formatException(error).split("\n"))


def log_path(mountpoint: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return where this mount's log goes: XDG_STATE_HOME or ~/.local/state, ``guestmount-py/NAME-TIME-PID.log``.

    Raises:
        GuestmountError: the directory cannot be made.
    """
    base = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "guestmount-py"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise GuestmountError(f"no log in {base}: {exc.strerror}: set XDG_STATE_HOME to a directory of yours") from exc
    name = mountpoint.absolute().name or "root"
    return base / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"


def open_log(path: Path, *, verbose: bool, trace: bool, echo: bool) -> None:
    """Log to a private file, and with ``echo`` to standard error as well."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")  # a path may be no UTF-8
    handlers: list[logging.Handler] = [logging.StreamHandler(file)]
    if echo:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose or trace else logging.INFO)


def console_sink() -> Callable[[bytes], None]:
    """Return what takes the appliance's console: its lines go to the log."""
    pending = b""

    def sink(data: bytes) -> None:
        nonlocal pending
        *lines, pending = (pending + data).split(b"\n")
        pending = pending[-_LINE_MAX_BYTES:]
        for line in lines:
            logger.debug("console: %s", line.decode("utf-8", "replace").rstrip())

    return sink
