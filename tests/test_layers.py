"""Imports run one way: the rooms of docs/architecture.md."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
STDLIB: Final = sys.stdlib_module_names
ROOMS: Final = {
    "rpc": {"rpc"},
    "daemon": {"daemon", "rpc"},
    "appliance": {"appliance", "rpc", "trio"},
    "guestmount_py": {"guestmount_py", "appliance", "rpc", "trio", "pyfuse3"},
}
"""What each room may import besides the standard library."""
EXCEPTIONS: Final = {
    "rpc/xdr.py": {"xdrlib3"},
    "rpc/client.py": {"trio"},
    "rpc/pool.py": {"trio"},
}
SHELLS: Final = {"rpc.client", "rpc.pool"}
"""The modules that do input and output: not for the daemon, nor for the rest of rpc."""
TOO_SLOW_TO_START: Final = {"asyncio", "dataclasses", "inspect", "pathlib", "subprocess", "tempfile", "logging"}
"""Modules that would cost the daemon more than 50 ms each when it starts under emulation."""

MODULES: Final = sorted(
    str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.is_file()
)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), module)


def test_every_room_has_modules() -> None:
    assert {module.split("/")[0] for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_what_its_room_may(module: str) -> None:
    room = module.split("/")[0]
    packages = {name.split(".")[0] for name in imports_of(parsed(module))}
    assert packages - STDLIB - ROOMS[room] - EXCEPTIONS.get(module, set()) == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("rpc/", "daemon/"))])
def test_wire_protocol_and_daemon_stay_clear_of_the_client(module: str) -> None:
    if module != "rpc/pool.py":
        assert SHELLS.isdisjoint(imports_of(parsed(module)))


def _top_level(tree: ast.Module) -> ast.Module:
    """Leave only what runs at import: no function bodies, no type checking."""
    deferred = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If
    tree.body = [node for node in tree.body if not isinstance(node, deferred)]
    return tree


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("rpc/", "daemon/"))])
def test_daemon_starts_without_slow_modules(module: str) -> None:
    if module not in ("rpc/client.py", "rpc/pool.py"):
        packages = {name.split(".")[0] for name in imports_of(_top_level(parsed(module)))}
        assert TOO_SLOW_TO_START.isdisjoint(packages)


def test_the_check_sees_a_forbidden_import() -> None:
    source = "from rpc import client\ndef late():\n    import trio.socket\nif 1:\n    from rpc.pool import ChannelPool"
    found = set(imports_of(ast.parse(source)))
    assert {"rpc.client", "trio.socket", "rpc.pool"} <= found
