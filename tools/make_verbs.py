"""Write guestmount_py/verbs.pyi, the types of the methods that guestmount_py/verbs.py makes of the table of calls.

python -m tools.make_verbs
"""

import ast
import keyword
from importlib import import_module
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, Final, get_args, get_origin

from guestmount_py.arguments import INTERNAL
from rpc import procedures
from rpc.codec import (
    Char,
    Device,
    DeviceOrPath,
    FileName,
    GuestPath,
    Int32,
    Int64,
    Mountable,
    MountableOrPath,
    UInt32,
    UInt64,
    field_kinds,
)
from rpc.procedure import Procedure, Transfer

STUB: Final = Path(__file__).parent.parent / "guestmount_py/verbs.pyi"
_KINDS: Final[dict[Any, str]] = {
    **dict.fromkeys((GuestPath, FileName, DeviceOrPath, MountableOrPath), "GuestName"),
    **dict.fromkeys((str, Device, Mountable, Char), "str"),
    **dict.fromkeys((Int32, UInt32, Int64, UInt64), "int"),
    bool: "bool",
    bytes: "bytes",
}
_RESULTS: Final = {
    "VOID": "None",
    "BOOL": "bool",
    "INT32": "int",
    "INT64": "int",
    "STRING": "str",
    "OPAQUE": "bytes",
    "PAIRS": "list[tuple[str, str]]",
    "STRING_LIST": "list[str]",
    "STATNS_LIST": "list[Statns]",
    "DIRENT_LIST": "list[Dirent]",
    "XATTR_LIST": "list[Xattr]",
}
_HEAD: Final = """# Made by python -m tools.make_verbs from rpc.procedures: change the table, not this file.
# fmt: off
# ruff: noqa
from collections.abc import Sequence

from guestmount_py.arguments import GuestName
from guestmount_py.sync import SyncDownload
from guestmount_py.transfers import Download, Source
"""


class _Result:
    """The type of a row's result, read from the row's source, for a codec does not tell it."""

    def __init__(self, module: ModuleType, imports: dict[str, set[str]]) -> None:
        self._module = module
        self._imports = imports

    def text(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            for name in ("Statns", "Dirent", "Xattr"):
                if name in _RESULTS[node.id]:
                    self._imports.setdefault("rpc.types", set()).add(name)
            return _RESULTS[node.id]
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        (inner,) = node.args
        if node.func.id == "list_of":
            return f"list[{self.text(inner)}]"
        assert node.func.id == "codec_of"
        assert isinstance(inner, ast.Name)
        self._imports.setdefault(getattr(self._module, inner.id).__module__, set()).add(inner.id)
        return inner.id


def _argument(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"Sequence[{_argument(get_args(kind)[0])}]"
    if NoneType in get_args(kind):
        return f"{_argument(get_args(kind)[0])} | None"
    return _KINDS[kind]


def _method(row: Procedure[Any, Any], result: str, *, blocking: bool) -> list[str]:
    assert not keyword.iskeyword(row.name)
    words = ["self"]
    if row.transfer is Transfer.FILE_IN:
        words.append("source: Source")
    optional = [f"{name}: {_argument(field_kinds(row.args)[name])} = None" for name in row.optargs]
    words += [f"{name}: {_argument(kind)}" for name, kind in field_kinds(row.args).items() if name not in row.optargs]
    if row.transfer is Transfer.FILE_IN:
        optional.append("size_hint_bytes: int = 0")
    words += ["*", *optional] if optional else []
    if row.transfer is Transfer.FILE_OUT:
        result = "SyncDownload" if blocking else "Download"
    start = "def" if blocking or row.transfer is Transfer.FILE_OUT else "async def"
    line = f"    {start} {row.name}({', '.join(words)}) -> {result}: ..."
    if len(line) <= 120:
        return [line]
    return [f"    {start} {row.name}(", f"        {', '.join(words)}", f"    ) -> {result}: ..."]


def stub() -> str:
    """Return what the stub should be."""
    imports: dict[str, set[str]] = {}
    rows: list[tuple[Procedure[Any, Any], str]] = []
    for group, names in procedures.GROUPS.items():
        public = {name for name in names if name.lower() not in INTERNAL}
        module = import_module(f"rpc.procedures.{group}")
        assert module.__file__ is not None
        for node in ast.parse(Path(module.__file__).read_text()).body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(keywords=words)) if name in public:
                    (result,) = [word.value for word in words if word.arg == "result"]
                    rows.append((getattr(module, name), _Result(module, imports).text(result)))
    lines = [f"from {name} import {', '.join(sorted(names))}" for name, names in sorted(imports.items())]
    for class_name, blocking in (("AsyncVerbs", False), ("SyncVerbs", True)):
        lines += ["", f"class {class_name}:"]
        for row, text in sorted(rows, key=lambda item: item[0].name):
            lines += _method(row, text, blocking=blocking)
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub())
