"""libguestfs's own library behind a pipe. Run by Debian's /usr/bin/python3, which has its bindings; see library.py.

Standard input brings pickled requests ``(method, arguments, keyword arguments)``; standard output takes pickled answers
``(errno, message, value)``, errno None for success. Methods that begin with ``driver_`` are this program's own.
"""

import ctypes
import os
import pickle
import sys
import threading
import time
import warnings

import guestfs  # type: ignore[import-not-found,unused-ignore]


class Driver:
    """One handle of the library, and what it has told about itself."""

    def __init__(self) -> None:
        self.handle = guestfs.GuestFS(python_return_dict=False)
        self.progress: list[tuple[float, ...]] = []
        self.events: list[str] = []
        # Only one callback of the bindings runs at a time, in the thread that made the call.
        self.handle.set_event_callback(self._on_progress, guestfs.EVENT_PROGRESS)
        kinds = guestfs.EVENT_SUBPROCESS_QUIT | guestfs.EVENT_LAUNCH_DONE | guestfs.EVENT_CLOSE
        self.handle.set_event_callback(self._on_event, kinds)
        self.cancel_after_s: float | None = None

    def _on_progress(self, _event: int, _handle: int, _text: str, numbers: list[int]) -> None:
        self.progress.append((time.monotonic(), *numbers))

    def _on_event(self, event: int, _handle: int, _text: str, _numbers: list[int]) -> None:
        self.events.append(guestfs.event_to_string(event))

    def driver_progress(self) -> list[tuple[float, ...]]:
        """Return the progress messages since the last time: seconds, procedure, serial, position, total."""
        found, self.progress = self.progress, []
        return found

    def driver_events(self) -> list[str]:
        """Return the names of the events since the last time."""
        found, self.events = self.events, []
        return found

    def driver_cancel_after(self, seconds: float) -> None:
        """Cancel the next call once it has run so long, again and again until it has ended."""
        self.cancel_after_s = seconds

    def _cancel(self, ended: threading.Event, seconds: float) -> None:
        while not ended.wait(seconds):
            self.handle.user_cancel()

    def answer(self, method: str, arguments: list[object], keywords: dict[str, object]) -> tuple[object, ...]:
        """Make one call."""
        if method.startswith("driver_"):
            return None, "", getattr(self, method)(*arguments)
        ended = threading.Event()
        if self.cancel_after_s is not None:
            threading.Thread(target=self._cancel, args=(ended, self.cancel_after_s)).start()
            self.cancel_after_s = None
        try:
            return None, "", getattr(self.handle, method)(*arguments, **keywords)
        except UnicodeDecodeError as exc:
            return None, "", exc.object  # the bindings make every string of the guest a str
        except RuntimeError as exc:
            return self._last_errno(), str(exc), None
        finally:
            ended.set()

    def _last_errno(self) -> int:
        """Ask the library itself: its Python bindings leave the errno out."""
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        last_errno = ctypes.CDLL("libguestfs.so.0").guestfs_last_errno
        last_errno.restype, last_errno.argtypes = ctypes.c_int, [ctypes.c_void_p]
        return int(last_errno(pointer(self.handle._o, b"guestfs_h")))


def main() -> None:
    """Answer until standard input ends."""
    warnings.simplefilter("ignore", DeprecationWarning)  # the old calls are to be tested too
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    driver = Driver()
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(driver.answer(*request), answers)
        answers.flush()


if __name__ == "__main__":
    main()
