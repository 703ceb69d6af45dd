"""One file of which something was promised that the guest has not done yet."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from guestmount_py.drafts import Drafts
from guestmount_py.node_table import Node
from rpc.changes import Wish

_BLKSIZE_AT: Final = 8
_SECTOR_BYTES: Final = 512


@dataclass(slots=True)
class PendingFile:
    """Drafts of one file.

    Attributes:
        wanted: somebody waits until nothing is pending.
        is_mixed: two steps were under way at once, so that neither answer tells what the file is after both.
        mtime_ns: what its time shall be after all that the guest has; None if the guest decides.
    """

    node: Node
    drafts: Drafts = field(default_factory=Drafts)
    wanted: bool = False
    is_mixed: bool = False
    mtime_ns: int | None = None

    @property
    def is_unmade(self) -> bool:
        """Tell whether it is still to be made."""
        return self.drafts.steps[0].creates

    @property
    def is_slight(self) -> bool:
        """Tell whether nothing but attributes are pending."""
        return all(step.is_slight for step in self.drafts.steps)

    @property
    def sectors(self) -> int:
        """Return how many the data that are pending will take."""
        block_bytes = self.node.entry.fields[_BLKSIZE_AT] or _SECTOR_BYTES
        return sum(step.blocks(block_bytes) for step in self.drafts.steps) * block_bytes // _SECTOR_BYTES

    def forget_mtime(self) -> None:
        """Set no time of modification by what the guest has not been given yet."""
        for step in islice(self.drafts.steps, self.drafts.under_way, None):
            step.wishes &= ~Wish.MTIME
