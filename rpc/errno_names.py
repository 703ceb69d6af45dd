"""Errno numbers and the names that cross the wire for them (guestfs-protocol section 2.3)."""

import errno
from typing import Final

# Linux defines these too, but libguestfs's list does not have the first name of each pair.
_SENT_AS: Final = {"EOPNOTSUPP": "ENOTSUP", "EWOULDBLOCK": "EAGAIN", "EDEADLK": "EDEADLOCK"}

_NUMBERS: Final[dict[str, int]] = {
    name: number for name, number in vars(errno).items() if name.startswith("E") and name not in _SENT_AS
}
_NAMES: Final[dict[int, str]] = {number: name for name, number in _NUMBERS.items()}


def errno_name(number: int) -> str:
    """Return the name to send for an errno; EINVAL for one the list does not have, empty for 0."""
    if number == 0:
        return ""
    return _NAMES.get(number, "EINVAL")


def errno_number(name: str) -> int:
    """Return the errno of a received name; EINVAL for one the list does not have, 0 for an empty one."""
    if not name:
        return 0
    return _NUMBERS.get(name, errno.EINVAL)
