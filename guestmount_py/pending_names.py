"""Names that were promised to come or go, and whose they are."""

from guestmount_py.inode_numbers import Inode

Place = tuple[Inode, bytes]
"""A directory and a name in it."""


class PendingNames:
    """Inode numbers by directory and name; each name once."""

    def __init__(self) -> None:
        self._names: dict[Inode, dict[bytes, Inode]] = {}

    def __contains__(self, directory: Inode) -> bool:
        return directory in self._names

    def directories(self) -> list[Inode]:
        """Return the directories in which names are still to come or go."""
        return list(self._names)

    def has(self, place: Place) -> bool:
        """Tell whether a name is still to come or go."""
        return place[1] in self._names.get(place[0], ())

    def whose(self, directory: Inode) -> list[Inode]:
        """Return whose names are still to come or go in a directory."""
        return list(self._names.get(directory, {}).values())

    def add(self, place: Place, inode: Inode) -> None:
        """Note that a name is to come or go."""
        self._names.setdefault(place[0], {})[place[1]] = inode

    def remove(self, place: Place) -> None:
        """Note that a name has come or gone, or will not."""
        names = self._names[place[0]]
        del names[place[1]]
        if not names:
            del self._names[place[0]]
