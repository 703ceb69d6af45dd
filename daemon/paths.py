"""Finding names: by pattern, whatever the case of their letters; and what kind of file they are."""

import os
import re
import stat as modes
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from daemon.registry import handles
from daemon.session import CallError, Session
from daemon.stat import mode_of
from rpc import procedures
from rpc.arguments import PathArgs
from rpc.procedures.attributes import IsFileArgs
from rpc.procedures.directories import GlobExpandArgs


@handles(procedures.IS_FIFO)
def is_fifo(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a FIFO."""
    return _is(session, args, modes.S_ISFIFO)


@handles(procedures.IS_SOCKET)
def is_socket(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a socket."""
    return _is(session, args, modes.S_ISSOCK)


@handles(procedures.IS_CHARDEV)
def is_chardev(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a character device."""
    return _is(session, args, modes.S_ISCHR)


@handles(procedures.IS_BLOCKDEV)
def is_blockdev(session: Session, args: IsFileArgs) -> bool:
    """Tell whether it is a block device."""
    return _is(session, args, modes.S_ISBLK)


def _is(session: Session, args: IsFileArgs, kind: Callable[[int], bool]) -> bool:
    return kind(mode_of(session, args.path, follow=bool(args.followsymlinks)) or 0)


@handles(procedures.CASE_SENSITIVE_PATH)
def case_sensitive_path(session: Session, args: PathArgs) -> str:
    """Return a path as its names are written in the directories; the last one need not exist."""
    names = [name for name in args.path.split(b"/") if name]
    found = b""
    with session.sysroot:
        for index, name in enumerate(names):
            entry = _entry_like(found or b"/", name)
            if entry is None and index < len(names) - 1:
                raise CallError(f"{os.fsdecode(name)}: not found in {os.fsdecode(found) or '/'}")
            found += b"/" + (name if entry is None else entry)
    return os.fsdecode(found) or "/"


def _entry_like(directory: bytes, name: bytes) -> bytes | None:
    """Return the entry with a name, else the first one that differs in case only."""
    entries = os.listdir(directory)
    if name in entries:
        return name
    wanted = os.fsdecode(name).lower()
    return next((entry for entry in entries if os.fsdecode(entry).lower() == wanted), None)


@handles(procedures.GLOB_EXPAND)
def glob_expand(session: Session, args: GlobExpandArgs) -> list[str]:
    """Return the paths that match a pattern of glob(3) with braces; directories get a slash unless told otherwise."""
    marks = args.directoryslash is not False
    patterns = [_parts(pattern) for pattern in _without_braces(os.fsdecode(args.pattern))]
    found: list[str] = []
    with session.sysroot:
        for parts in patterns:
            paths = [os.fsencode(path) for path in _matches("", parts)]
            found += map(os.fsdecode, sorted([_marked(path) for path in paths] if marks else paths))
    return found


def _marked(path: bytes) -> bytes:
    return path + b"/" if not path.endswith(b"/") and os.path.isdir(path) else path


def _without_braces(pattern: str) -> Iterator[str]:
    """Yield a pattern once for each alternative of each ``{…,…}``; a brace without its partner is a letter."""
    depth, start = 0, 0
    cuts: list[int] = []
    escaped = False
    for index, letter in enumerate(pattern):
        if escaped or letter == "\\":
            escaped = not escaped
        elif letter == "{":
            if not depth:
                start, cuts = index, [index]
            depth += 1
        elif letter == "," and depth == 1:
            cuts.append(index)
        elif letter == "}" and depth:
            depth -= 1
            if not depth:
                cuts.append(index)
                for left, right in pairwise(cuts):
                    yield from _without_braces(pattern[:start] + pattern[left + 1 : right] + pattern[index + 1 :])
                return
    yield pattern


class _Part(NamedTuple):
    """One name of a pattern.

    Attributes:
        slashes: what stands before it.
        text: the name as it was written.
        expression: what a name must match, None for a name that says just what it is.
    """

    slashes: str
    text: str
    expression: re.Pattern[str] | None


def _parts(pattern: str) -> list[_Part]:
    """Take a pattern apart, outside the guest's root, for ``re`` may import what it needs."""
    return [
        _Part(slashes, name, _expression(name) if re.search(r"[*?\[\\]", name) else None)
        for slashes, name in re.findall(r"(/+)([^/]*)", pattern)
    ]


def _matches(path: str, parts: list[_Part]) -> Iterator[str]:
    """Yield the paths that begin with ``path``, which exists, and go on as the parts want."""
    if not parts:
        yield path
        return
    (slashes, text, expression), *rest = parts
    path += slashes
    if expression is not None:
        for name in _names(path, dotted=text.startswith(".")):
            if expression.fullmatch(name):
                yield from _matches(path + name, rest)
    elif os.path.lexists(os.fsencode(path + text)):
        yield from _matches(path + text, rest)


def _names(directory: str, *, dotted: bool) -> list[str]:
    """Return the names in a directory that a pattern may match: those with a dot in front only if it has one."""
    try:
        names = [os.fsdecode(name) for name in os.listdir(os.fsencode(directory))]
    except OSError:
        return []
    hidden = [name for name in names if name.startswith(".")]
    return [".", "..", *hidden] if dotted else [name for name in names if name not in hidden]


def _expression(pattern: str) -> re.Pattern[str]:
    """Translate the pattern of one name (glob(7)); one that makes no sense matches nothing."""
    text, rest = "", pattern
    while rest:
        letter, rest = rest[0], rest[1:]
        group = re.match(r"([!^]?)(\]?[^\]]*)\]", rest, re.DOTALL) if letter == "[" else None
        if group is not None:
            inner = re.sub(r"[\\\[\]&~|^]", r"\\\g<0>", group[2]).replace("--", "-\\-")
            text += f"[{'^' if group[1] else ''}{inner}]"
            rest = rest[group.end() :]
        elif letter == "\\" and rest:
            text, rest = text + re.escape(rest[0]), rest[1:]
        else:
            text += {"*": ".*", "?": "."}.get(letter, re.escape(letter))
    try:
        return re.compile(text, re.DOTALL)
    except re.error:
        return re.compile("(?!)")
