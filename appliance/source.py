"""What a disk's bytes come from where qemu cannot just open a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DiskSource:
    """What a launched qemu is given.

    Attributes:
        node: the node below the format's, a ``BlockdevOptions``; None: the file itself.
        descriptors: what it refers to and qemu inherits.
        secrets: names of secrets and descriptors of the files that hold them, which qemu inherits too.
    """

    node: Mapping[str, Any] | None = None
    descriptors: tuple[int, ...] = ()
    secrets: tuple[tuple[str, int], ...] = ()
