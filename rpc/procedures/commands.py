"""Run programs in the guest's root."""

from typing import Final, NamedTuple

from rpc.codec import STRING, STRING_LIST, VOID
from rpc.procedure import Procedure, Transfer


class CommandArgs(NamedTuple):
    """Carry the arguments of ``command``, ``command_lines``, ``command_out``."""

    arguments: list[str]


class ShArgs(NamedTuple):
    """Carry the arguments of ``sh``, ``sh_lines``, ``sh_out``."""

    command: str


COMMAND: Final = Procedure(number=50, name="command", args=CommandArgs, result=STRING)
COMMAND_LINES: Final = Procedure(number=51, name="command_lines", args=CommandArgs, result=STRING_LIST)
COMMAND_OUT: Final = Procedure(
    number=516, name="command_out", args=CommandArgs, result=VOID, transfer=Transfer.FILE_OUT
)
SH: Final = Procedure(number=111, name="sh", args=ShArgs, result=STRING)
SH_LINES: Final = Procedure(number=112, name="sh_lines", args=ShArgs, result=STRING_LIST)
SH_OUT: Final = Procedure(number=517, name="sh_out", args=ShArgs, result=VOID, transfer=Transfer.FILE_OUT)
