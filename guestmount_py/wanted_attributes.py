"""What setattr is asked to change."""

import stat as modes
from typing import Final, NamedTuple, Self

import pyfuse3

from rpc.changes import Change, Wish

_ID_MASK: Final = 0xFFFFFFFF


class WantedAttributes(NamedTuple):
    """What shall change; None for what shall stay."""

    mode: int | None
    uid: int | None
    gid: int | None
    atime_ns: int | None
    mtime_ns: int | None
    size_bytes: int | None = None

    @classmethod
    def of(cls, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Self:
        """Return what pyfuse3 tells."""
        return cls(
            modes.S_IMODE(attr.st_mode) if fields.update_mode else None,
            attr.st_uid & _ID_MASK if fields.update_uid else None,
            attr.st_gid & _ID_MASK if fields.update_gid else None,
            attr.st_atime_ns if fields.update_atime else None,
            attr.st_mtime_ns if fields.update_mtime else None,
            attr.st_size if fields.update_size else None,
        )

    def as_change(self, change: Change) -> Change:
        """Return a change that does it, of the file that ``change`` names."""
        wishes = (Wish.MODE, Wish.UID, Wish.GID, Wish.ATIME, Wish.MTIME, Wish.SIZE)
        return change._replace(
            wishes=sum(wish for wish, value in zip(wishes, self, strict=True) if value is not None),
            mode=self.mode or 0,
            uid=self.uid or 0,
            gid=self.gid or 0,
            atime_ns=self.atime_ns or 0,
            mtime_ns=self.mtime_ns or 0,
            size=self.size_bytes or 0,
        )


def stripped(mode: int) -> int | None:
    """Return the permissions that are left when data are changed by who is not root; None if that is all of them."""
    bits = modes.S_IMODE(mode)
    left = bits & ~modes.S_ISUID
    if bits & modes.S_IXGRP:
        left &= ~modes.S_ISGID
    return left if left != bits else None
