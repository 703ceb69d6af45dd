"""Make and describe MD arrays."""

from typing import Final, NamedTuple

from rpc.codec import PAIRS, VOID, Device, Int32, Int64, codec_of, list_of
from rpc.procedure import Procedure


class Mdstat(NamedTuple):
    """One member of an MD array; ``mdstat_flags`` are letters such as F (failed)."""

    mdstat_device: str
    mdstat_index: Int32
    mdstat_flags: str


class MdCreateArgs(NamedTuple):
    """Carry the arguments of ``md_create``."""

    name: str
    devices: list[Device]
    missingbitmap: Int64 | None = None
    nrdevices: Int32 | None = None
    spare: Int32 | None = None
    chunk: Int64 | None = None
    level: str | None = None


class MdDetailArgs(NamedTuple):
    """Carry the arguments of ``md_detail``, ``md_stat``, ``md_stop``."""

    md: Device


MD_CREATE: Final = Procedure(number=299, name="md_create", args=MdCreateArgs, result=VOID)
MD_DETAIL: Final = Procedure(number=301, name="md_detail", args=MdDetailArgs, result=PAIRS)
MD_STAT: Final = Procedure(number=316, name="md_stat", args=MdDetailArgs, result=list_of(codec_of(Mdstat)))
MD_STOP: Final = Procedure(number=302, name="md_stop", args=MdDetailArgs, result=VOID)
