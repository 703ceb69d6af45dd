"""What one row of the table of calls says."""

from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

from rpc.codec import Codec, codec_of, optional_fields

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")


class Transfer(Enum):
    """Which way file chunks go after the call message."""

    NONE = auto()
    FILE_IN = auto()
    FILE_OUT = auto()


class Procedure(NamedTuple, Generic[ArgsT, RetT]):
    """One call.

    Attributes:
        number: never reused; from 10000 on it is an extension of ours.
        args: named tuple of the arguments; its field kinds drive the daemon's checks.
        result: layout of an ok reply's body.
    """

    number: int
    name: str
    args: type[ArgsT]
    result: Codec[RetT]
    transfer: Transfer = Transfer.NONE

    @property
    def args_codec(self) -> Codec[ArgsT]:
        """Return the layout of the arguments."""
        return codec_of(self.args)

    @property
    def optargs(self) -> tuple[str, ...]:
        """Name the optional arguments in the order of their bits."""
        return optional_fields(self.args)
