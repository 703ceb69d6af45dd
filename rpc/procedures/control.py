"""Ask and steer the daemon itself and the appliance's kernel."""

from typing import Final, NamedTuple

from rpc.arguments import NoArgs
from rpc.codec import INT32, STRING, STRING_LIST, VOID, Int32, codec_of
from rpc.procedure import Procedure, Transfer


class Utsname(NamedTuple):
    """The appliance's kernel as uname(2) names it."""

    uts_sysname: str
    uts_release: str
    uts_version: str
    uts_machine: str


class InternalFeatureAvailableArgs(NamedTuple):
    """Carry the arguments of ``internal_feature_available``."""

    group: str


class DebugArgs(NamedTuple):
    """Carry the arguments of ``debug``."""

    subcmd: str
    extraargs: list[str]


class DebugUploadArgs(NamedTuple):
    """Carry the arguments of ``debug_upload``, ``internal_upload``."""

    tmpname: str
    mode: Int32


class EchoDaemonArgs(NamedTuple):
    """Carry the arguments of ``echo_daemon``."""

    words: list[str]


class DropCachesArgs(NamedTuple):
    """Carry the arguments of ``drop_caches``."""

    whattodrop: Int32


class ModprobeArgs(NamedTuple):
    """Carry the arguments of ``modprobe``."""

    modulename: str


class SleepArgs(NamedTuple):
    """Carry the arguments of ``sleep``."""

    secs: Int32


PING_DAEMON: Final = Procedure(number=92, name="ping_daemon", args=NoArgs, result=VOID)
INTERNAL_FEATURE_AVAILABLE: Final = Procedure(
    number=458, name="internal_feature_available", args=InternalFeatureAvailableArgs, result=INT32
)
AVAILABLE_ALL_GROUPS: Final = Procedure(number=251, name="available_all_groups", args=NoArgs, result=STRING_LIST)
UTSNAME: Final = Procedure(number=342, name="utsname", args=NoArgs, result=codec_of(Utsname))
DEBUG: Final = Procedure(number=76, name="debug", args=DebugArgs, result=STRING)
DEBUG_UPLOAD: Final = Procedure(
    number=241, name="debug_upload", args=DebugUploadArgs, result=VOID, transfer=Transfer.FILE_IN
)
INTERNAL_UPLOAD: Final = Procedure(
    number=413, name="internal_upload", args=DebugUploadArgs, result=VOID, transfer=Transfer.FILE_IN
)
INTERNAL_EXIT: Final = Procedure(number=414, name="internal_exit", args=NoArgs, result=VOID)
ECHO_DAEMON: Final = Procedure(number=195, name="echo_daemon", args=EchoDaemonArgs, result=STRING)
DROP_CACHES: Final = Procedure(number=90, name="drop_caches", args=DropCachesArgs, result=VOID)
DMESG: Final = Procedure(number=91, name="dmesg", args=NoArgs, result=STRING)
MODPROBE: Final = Procedure(number=194, name="modprobe", args=ModprobeArgs, result=VOID)
SLEEP: Final = Procedure(number=109, name="sleep", args=SleepArgs, result=VOID)
