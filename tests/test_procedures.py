"""The table of calls agrees with libguestfs's own list, and the daemon answers each call once."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from daemon import server
from daemon.registry import HANDLERS
from rpc import procedures, types
from rpc.codec import (
    Char,
    Device,
    DeviceOrPath,
    FileName,
    GuestPath,
    Int32,
    Int64,
    LvmUuid,
    Mountable,
    MountableOrPath,
    UInt32,
    UInt64,
    field_kinds,
    optional_fields,
)
from rpc.constants import FIRST_EXTENSION
from rpc.procedure import Procedure, Transfer
from rpc.procedures import BY_NAME, BY_NUMBER, GROUPS
from tools.procedures import import_handlers

import_handlers()


class Row(NamedTuple):
    """One line of guestfs-procedures.tsv."""

    number: int
    name: str
    args: str
    optargs: str
    result: str
    flags: str
    versions: str


def _rows() -> dict[int, Row]:
    lines = (Path(__file__).parent / "guestfs-procedures.tsv").read_text().splitlines()
    fields = [line.split("\t") for line in lines if line[:1].isdigit()]
    return {int(number): Row(int(number), *rest) for number, *rest in fields}


LIBGUESTFS: Final = _rows()
STANDARD: Final = [row for row in BY_NUMBER.values() if row.number < FIRST_EXTENSION]
KINDS: Final[dict[str, Any]] = {
    "str": str,
    "key": str,
    "guid": str,
    "path": GuestPath,
    "dev": Device,
    "mnt": Mountable,
    "dev|path": DeviceOrPath,
    "mnt|path": MountableOrPath,
    "optstr": str | None,
    "buf": bytes,
    "bool": bool,
    "i32": Int32,
    "i64": Int64,
    "str[]": list[str],
    "name[]": list[FileName],
    "dev[]": list[Device],
    "path[]": list[GuestPath],
}

RESULTS: Final = {
    "-": ("nothing",),
    "i32": ("int32",),
    "i64": ("int64",),
    "str": ("str", "bytes"),  # bytes where the text is a path of the guest
    "dev": ("str",),
    "buf": ("bytes",),
    "str[]": ("list[str]", "list[bytes]"),
    "dev[]": ("list[str]",),
    "mnt[]": ("list[str]",),
}
"""Names of the codecs of libguestfs's results; structures are named alike, hashtables are pairs."""


def codec_names(notation: str) -> tuple[str, ...]:
    if notation in RESULTS or notation == "bool":
        return RESULTS.get(notation, (notation,))
    if notation.startswith("hash<"):
        return ("pairs",)
    name = "".join(part.capitalize() for part in notation.removesuffix("[]").split("_"))
    return (f"list[{name}]",) if notation.endswith("[]") else (name,)


STRUCT_FIELDS: Final[dict[str, Any]] = {
    "string": (str, bytes, FileName),
    "buf": (bytes,),
    "char": (Char,),
    "uuid": (LvmUuid,),
    "float": (float,),
    "i32": (Int32,),
    "u32": (UInt32,),
    "i64": (Int64,),
    "u64": (UInt64,),
}


def _structs() -> dict[str, list[tuple[str, str]]]:
    """Return the fields, and their kinds, of each of libguestfs's structures that some call of the table returns."""
    lines = (Path(__file__).parent / "guestfs-structs.tsv").read_text().splitlines()[2:]
    written = {name: fields.split("; ") for name, fields in (line.split("\t") for line in lines)}
    fields = {
        name: [(field, kind) for names, kind in (part.split(": ") for part in parts) for field in names.split(", ")]
        for name, parts in written.items()
    }
    returned = {LIBGUESTFS[row.number].result.removesuffix("[]") for row in STANDARD}
    return {name: fields[name] for name in sorted(returned & set(fields))}


def _class_of(struct: str) -> type[Any]:
    name = "".join(part.capitalize() for part in struct.split("_"))
    groups = [import_module(f"rpc.procedures.{group}") for group in GROUPS]
    cls: type[Any] = next(vars(module)[name] for module in (types, *groups) if name in vars(module))
    return cls


@pytest.mark.parametrize(("struct", "fields"), _structs().items(), ids=_structs())
def test_structure_is_that_of_libguestfs(struct: str, fields: list[tuple[str, str]]) -> None:
    kinds = field_kinds(_class_of(struct))
    assert list(kinds) == [name for name, _ in fields]
    assert all(kinds[name] in STRUCT_FIELDS[kind] for name, kind in fields)


def by_name(rows: list[Procedure[Any, Any]]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def test_groups_hold_the_rows_that_the_index_names() -> None:
    for group, names in GROUPS.items():
        found = vars(import_module(f"rpc.procedures.{group}"))
        assert {name for name, value in found.items() if isinstance(value, Procedure)} == set(names)
        assert [found[name].name.upper() for name in names] == list(names)


def test_every_group_is_in_the_index() -> None:
    assert set(GROUPS) == {path.stem for path in Path(procedures.__path__[0]).glob("[!_]*.py")}


def test_no_number_and_no_name_stands_twice() -> None:
    assert len(BY_NUMBER) == len(BY_NAME) == sum(map(len, GROUPS.values()))
    assert all(getattr(procedures, row.name.upper()) is row for row in BY_NUMBER.values())


def test_what_is_not_in_the_table_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH_CALL"):
        _ = procedures.NO_SUCH_CALL  # type: ignore[attr-defined]


@by_name(STANDARD)
def test_number_and_name_are_those_of_libguestfs(row: Procedure[Any, Any]) -> None:
    assert LIBGUESTFS[row.number].name == row.name


@by_name(STANDARD)
def test_arguments_are_those_of_libguestfs(row: Procedure[Any, Any]) -> None:
    wanted = [tuple(arg.split(":")) for arg in LIBGUESTFS[row.number].args.split(", ") if arg]
    transfers = [kind for _, kind in wanted if kind in ("FILEIN", "FILEOUT")]
    expected = {name: KINDS[kind] for name, kind in wanted if kind not in transfers}
    required = [(name, kind) for name, kind in field_kinds(row.args).items() if name not in optional_fields(row.args)]
    assert required == list(expected.items())
    transfer = {"FILEIN": Transfer.FILE_IN, "FILEOUT": Transfer.FILE_OUT}
    assert row.transfer is (transfer[transfers[0]] if transfers else Transfer.NONE)


@by_name(STANDARD)
def test_optional_arguments_are_those_of_libguestfs(row: Procedure[Any, Any]) -> None:
    wanted = [arg.split(":") for arg in LIBGUESTFS[row.number].optargs.split(", ") if arg]
    assert [int(bit) for bit, _, _ in wanted] == list(range(len(wanted)))
    assert list(row.optargs) == [name for _, name, _ in wanted]
    assert [field_kinds(row.args)[name] for name in row.optargs] == [KINDS[kind] | None for _, _, kind in wanted]
    assert list(field_kinds(row.args))[len(field_kinds(row.args)) - len(wanted) :] == list(row.optargs)


@by_name(STANDARD)
def test_result_is_that_of_libguestfs(row: Procedure[Any, Any]) -> None:
    assert row.result.name in codec_names(LIBGUESTFS[row.number].result)


def test_captured_guestmount_needs_no_call_that_is_missing() -> None:
    minimum = {74, 75, 137, 36, 422, 138, 511, 423, 205, 206, 168, 142, 207, 54, 282, 476, 396, 277}
    assert minimum <= set(BY_NUMBER)


def test_extensions_stand_far_above_libguestfs() -> None:
    extensions = {row.number: row.name for row in BY_NUMBER.values() if row.number >= FIRST_EXTENSION}
    assert extensions == {
        10000: "hello",
        10001: "list_directory",
        10002: "read_files",
        10004: "resume",
        10005: "map_files",
        10006: "device_map",
        10007: "walk",
        10008: "change_files",
        10009: "make_file",
        10010: "link_file",
        10011: "remove_name",
        10012: "rename_file",
        10013: "open_file",
        10014: "read_kept",
        10015: "close_kept",
        10016: "sync_file",
        10017: "change_xattr",
        10018: "open_mailbox",
        10019: "any_protected",
        10020: "find_systems",
        10021: "cover",
    }
    assert max(LIBGUESTFS) < FIRST_EXTENSION


READ_ONLY: Final = """
    ping_daemon hello list_directory walk read_files list_devices list_partitions list_filesystems
    vfs_type vfs_label vfs_uuid mount mount_ro mount_options mount_vfs mounts mountpoints umount umount_all sync
    internal_autosync lstatns statns internal_lstatnslist readdir internal_readdir readlink internal_readlinklist
    getxattrs lgetxattrs getxattr lgetxattr internal_lxattrlist statvfs pread pread_device download download_offset
    find0 checksum exists is_file is_dir filesize blockdev_getsize64 blockdev_getss part_list part_get_parttype
    internal_feature_available available_all_groups umask internal_parse_mountable lvm_canonical_lv_name
"""


@pytest.mark.parametrize("name", READ_ONLY.split())
def test_daemon_answers_what_a_read_only_mount_needs(name: str) -> None:
    assert HANDLERS[BY_NAME[name].number].procedure is BY_NAME[name]


def test_server_knows_after_which_calls_chunks_come() -> None:
    """Also of calls that we do not have: their chunks are drained before the error is sent."""
    assert {row.number for row in LIBGUESTFS.values() if "FILEIN" in row.args} == server._UPLOADS


def test_every_handler_stands_in_the_table() -> None:
    assert {number: handler.procedure for number, handler in HANDLERS.items()} == {
        number: BY_NUMBER[number] for number in HANDLERS
    }


def names_used(module: Path) -> set[str]:
    """Return the names and attributes that stand in a module, imports and strings left out."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_every_handler_is_called_by_a_test() -> None:
    """By its row in the table; what the call must do is that test's business."""
    used = set().union(*(names_used(path) for path in Path(__file__).parent.glob("*/test_*.py")))
    rows = [handler.procedure for handler in HANDLERS.values()]
    assert [row.name for row in rows if row.name.upper() not in used] == []


def test_no_call_has_two_handlers() -> None:
    functions = [handler.function for handler in HANDLERS.values()]
    assert len(set(functions)) == len(functions)
