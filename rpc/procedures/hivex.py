"""Look into a hive of Windows' registry, and change it."""

from typing import Final, NamedTuple

from rpc.arguments import NoArgs
from rpc.codec import INT64, OPAQUE, STRING, VOID, GuestPath, Int64, codec_of, list_of
from rpc.procedure import Procedure


class HivexNode(NamedTuple):
    """One key."""

    hivex_node_h: Int64


class HivexValue(NamedTuple):
    """One value of a key."""

    hivex_value_h: Int64


class HivexOpenArgs(NamedTuple):
    """Carry the arguments of ``hivex_open``."""

    filename: GuestPath
    verbose: bool | None = None
    debug: bool | None = None
    write: bool | None = None
    unsafe: bool | None = None


class HivexNodeArgs(NamedTuple):
    """Carry the arguments of ``hivex_node_name`` and four more calls."""

    nodeh: Int64


class HivexChildArgs(NamedTuple):
    """Carry the arguments of ``hivex_node_get_child``."""

    nodeh: Int64
    name: str


class HivexGetValueArgs(NamedTuple):
    """Carry the arguments of ``hivex_node_get_value``."""

    nodeh: Int64
    key: str


class HivexValueArgs(NamedTuple):
    """Carry the arguments of ``hivex_value_key`` and four more calls."""

    valueh: Int64


class HivexCommitArgs(NamedTuple):
    """Carry the arguments of ``hivex_commit``."""

    filename: str | None


class HivexAddChildArgs(NamedTuple):
    """Carry the arguments of ``hivex_node_add_child``."""

    parent: Int64
    name: str


class HivexSetValueArgs(NamedTuple):
    """Carry the arguments of ``hivex_node_set_value``."""

    nodeh: Int64
    key: str
    t: Int64
    val: bytes


HIVEX_OPEN: Final = Procedure(number=350, name="hivex_open", args=HivexOpenArgs, result=VOID)
HIVEX_CLOSE: Final = Procedure(number=351, name="hivex_close", args=NoArgs, result=VOID)
HIVEX_ROOT: Final = Procedure(number=352, name="hivex_root", args=NoArgs, result=INT64)
HIVEX_NODE_NAME: Final = Procedure(number=353, name="hivex_node_name", args=HivexNodeArgs, result=STRING)
HIVEX_NODE_CHILDREN: Final = Procedure(
    number=354, name="hivex_node_children", args=HivexNodeArgs, result=list_of(codec_of(HivexNode))
)
HIVEX_NODE_GET_CHILD: Final = Procedure(number=355, name="hivex_node_get_child", args=HivexChildArgs, result=INT64)
HIVEX_NODE_PARENT: Final = Procedure(number=356, name="hivex_node_parent", args=HivexNodeArgs, result=INT64)
HIVEX_NODE_VALUES: Final = Procedure(
    number=357, name="hivex_node_values", args=HivexNodeArgs, result=list_of(codec_of(HivexValue))
)
HIVEX_NODE_GET_VALUE: Final = Procedure(number=358, name="hivex_node_get_value", args=HivexGetValueArgs, result=INT64)
HIVEX_VALUE_KEY: Final = Procedure(number=359, name="hivex_value_key", args=HivexValueArgs, result=STRING)
HIVEX_VALUE_TYPE: Final = Procedure(number=360, name="hivex_value_type", args=HivexValueArgs, result=INT64)
HIVEX_VALUE_VALUE: Final = Procedure(number=361, name="hivex_value_value", args=HivexValueArgs, result=OPAQUE)
HIVEX_COMMIT: Final = Procedure(number=362, name="hivex_commit", args=HivexCommitArgs, result=VOID)
HIVEX_NODE_ADD_CHILD: Final = Procedure(number=363, name="hivex_node_add_child", args=HivexAddChildArgs, result=INT64)
HIVEX_NODE_DELETE_CHILD: Final = Procedure(number=364, name="hivex_node_delete_child", args=HivexNodeArgs, result=VOID)
HIVEX_NODE_SET_VALUE: Final = Procedure(number=365, name="hivex_node_set_value", args=HivexSetValueArgs, result=VOID)
HIVEX_VALUE_UTF8: Final = Procedure(number=478, name="hivex_value_utf8", args=HivexValueArgs, result=STRING)
HIVEX_VALUE_STRING: Final = Procedure(number=479, name="hivex_value_string", args=HivexValueArgs, result=STRING)
