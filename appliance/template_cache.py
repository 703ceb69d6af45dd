"""Where a user's templates are kept: few, and none that was not used for a day."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.cache import build_lock, cache_directory, make_private
from appliance.packages import Log
from appliance.template import Template, TemplateUnusable, opened_template

_KEPT: Final = 4
"""Most templates that are kept; one takes about 130 MB on the disk."""
_UNUSED_S: Final = 24 * 3600.0
_PREFIX: Final = "template-"
_FAILED_PREFIX: Final = "failed-template-"
_FAILED_S: Final = 3600.0
"""How long nobody tries again what failed: it costs a boot, and the mount boots anyway then."""


class TemplateCache:
    """The templates in the user's cache, by key.

    Raises:
        ImageError: the directory is another user's, or cannot be there.
    """

    def __init__(self) -> None:
        self.directory: Final = cache_directory()
        make_private(self.directory, to_write=False)

    def path(self, key: str) -> Path:
        """Return where a template is kept, if there is one."""
        return self.directory / f"{_PREFIX}{key}"

    def lock(self, log: Log) -> AbstractAsyncContextManager[None]:
        """Be the only one who makes templates.

        Raises:
            ImageError: nothing can be written there.
        """
        make_private(self.directory)
        return build_lock(self.directory, log, name="lock-template", work="starting the appliance for the first time")

    @contextmanager
    def opened(self, key: str) -> Iterator[Template]:
        """Open a template and mark it as used.

        Raises:
            FileNotFoundError: there is none.
            TemplateUnusable: it is damaged; by then it is removed.
        """
        path = self.path(key)
        try:
            with opened_template(path, key) as template:
                info = os.fstat(template.memory.fileno())
                with suppress(OSError):  # it can be used without that
                    os.utime(template.memory.fileno(), ns=(time.time_ns(), info.st_mtime_ns))
                yield template
        except TemplateUnusable:
            with suppress(OSError):
                path.unlink()
            raise

    def blame(self, key: str, inode: int | None) -> None:
        """Remember that a template could not be made or restored, and remove it if it still is that file."""
        with suppress(OSError):
            self._mark(key).touch()
            if inode is not None and self.path(key).stat().st_ino == inode:
                self.path(key).unlink()

    def forgive(self, key: str) -> None:
        """Forget that."""
        self._mark(key).unlink(missing_ok=True)

    def failed_lately(self, key: str) -> bool:
        """Tell whether a template could not be made or restored within the last hour."""
        with suppress(OSError):
            return _is_within(self._mark(key).stat().st_mtime, _FAILED_S)
        return False

    def _mark(self, key: str) -> Path:
        return self.directory / f"{_FAILED_PREFIX}{key}"

    def prune(self) -> None:
        """Make room for one more: the oldest go, and those not used for a day; call with the lock held."""
        used = {}
        for path in self.directory.iterdir():
            with suppress(OSError):
                if path.name.startswith(_PREFIX):
                    used[path] = path.stat().st_atime
                elif path.name.startswith(_FAILED_PREFIX) and not _is_within(path.stat().st_mtime, _FAILED_S):
                    path.unlink()
        newest = sorted(used, key=lambda path: used[path], reverse=True)
        for path in newest:
            if path in newest[_KEPT - 1 :] or not _is_within(used[path], _UNUSED_S):
                path.unlink(missing_ok=True)


def _is_within(then_s: float, limit_s: float) -> bool:
    """Tell whether something was not too long ago, nor in the future of a clock that was wrong."""
    return 0 <= time.time() - then_s <= limit_s
