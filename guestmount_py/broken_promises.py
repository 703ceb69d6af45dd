"""What was promised and could not be done, until whoever has to know has been told."""

import os

from guestmount_py.inode_numbers import Inode


class BrokenPromises:
    """Errors by inode number, and of names by their directory."""

    def __init__(self) -> None:
        self._errors: dict[Inode, tuple[int, int]] = {}
        self._untold: set[Inode] = set()
        self._unmade: set[Inode] = set()
        self._lost = 0
        self._last_errno = 0
        self._of_names: dict[Inode, int] = {}

    @property
    def unreported(self) -> str:
        """Say how many files have an error that nobody was told of, and the last error; empty if none has."""
        count = len(self._untold) + self._lost
        if not count:
            return ""
        files = "1 file" if count == 1 else f"{count} files"
        return f"{files} could not be written as promised: {os.strerror(self._last_errno)}"

    def add(self, inode: Inode, number: int) -> None:
        """Note that something of a file failed, with this errno."""
        count, _ = self._errors.get(inode, (0, 0))
        self._errors[inode] = count + 1, number
        self._untold.add(inode)
        self._last_errno = number

    def add_name(self, directory: Inode, number: int) -> None:
        """Note that a name could not come or go; fsync of its directory tells."""
        self._of_names[directory] = number

    def add_unmade(self, inode: Inode) -> None:
        """Note that a file could not be made."""
        self._unmade.add(inode)

    def forget(self, inode: Inode) -> None:
        """Forget a file that nobody can see any more."""
        self._errors.pop(inode, None)
        self._of_names.pop(inode, None)
        self._lost += inode in self._unmade and inode in self._untold  # it has not gone: it never came
        self._unmade.discard(inode)
        self._untold.discard(inode)

    def told(self, inode: Inode) -> int:
        """Return how many errors of a file are no news to whoever opens it now: all, unless nobody was told."""
        count, _ = self._errors.get(inode, (0, 0))
        return count - (inode in self._untold)

    def tell(self, inode: Inode) -> tuple[int, int]:
        """Return how often something of a file failed, and the last errno; whoever has it open is to be told."""
        self._untold.discard(inode)
        return self._errors.get(inode, (0, 0))

    def tell_name(self, directory: Inode) -> int:
        """Return once why a name could not come to a directory or go from it, an errno; 0 if all could."""
        return self._of_names.pop(directory, 0)
