"""Write down what the table of calls and the daemon's handlers say: docs/procedures.md and daemon/index.py.

python -m tools.procedures          write them
"""

import importlib
import textwrap
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from daemon.registry import HANDLERS
from rpc.codec import codec_of, field_kinds
from rpc.constants import FIRST_EXTENSION
from rpc.procedure import Procedure, Transfer
from rpc.procedures import BY_NUMBER

ROOT: Final = Path(__file__).parent.parent
DOCUMENT: Final = ROOT / "docs" / "procedures.md"
LIST: Final = ROOT / "tests" / "guestfs-procedures.tsv"
INDEX: Final = ROOT / "daemon" / "index.py"
_INTRODUCTION: Final = f"""\
# Procedures

Written by `python -m tools.procedures` from the table of calls, `rpc/procedures/`, libguestfs's own list,
`tests/guestfs-procedures.tsv`, and the daemon's handlers; a test compares. Numbers, names and signatures are
libguestfs's; from {FIRST_EXTENSION} on they are ours (architecture.md). A call that the table has not is written in the
words of the list. One that is not implemented gets the standard error for an unknown procedure.

`aug_*` is not answered. LDM volumes are: there are none.

`name?` is an optional argument, `str?` a string that may be missing; *FileIn* and *FileOut* stand for the chunks that
go to the daemon or come from it.

"""
_TRANSFERS: Final = {Transfer.NONE: "", Transfer.FILE_IN: "*FileIn*", Transfer.FILE_OUT: "*FileOut*"}


def import_handlers() -> None:
    """Import every module of the daemon, so that the registry is whole."""
    for path in sorted((ROOT / "daemon").glob("[!_]*.py")):
        importlib.import_module(f"daemon.{path.stem}")


def document() -> str:
    """Return docs/procedures.md."""
    import_handlers()
    rows = {number: _line(row) for number, row in BY_NUMBER.items()}
    rows = {**_missing(), **rows}
    count = len(HANDLERS)
    lines = [f"{count} of {len(rows)} are implemented.", "", "| nr | name | arguments | result | implemented |"]
    lines.append("| --: | --- | --- | --- | --- |")
    lines += [line for _, line in sorted(rows.items())]
    return _INTRODUCTION + "\n".join(lines) + "\n"


def _missing() -> dict[int, str]:
    """Return the rows of all that libguestfs lists, in the words of its list; the table's own take their places."""
    found = {}
    for text in LIST.read_text().splitlines():
        if text[:1].isdigit():
            number, name, args, optargs, result, *_ = text.split("\t")
            optional = [f"{word.split(':')[1]}?: {word.split(':')[2]}" for word in optargs.split(", ") if word]
            arguments = ", ".join(_in_words(word) for word in [*args.split(", "), *optional] if word)
            shown = _TRANSFERS[Transfer.FILE_OUT] if ":FILEOUT" in args else {"-": "nothing"}.get(result, result)
            found[int(number)] = f"| {number} | `{name}` | {arguments} | {shown} | no |"
    return found


def _in_words(argument: str) -> str:
    name, _, kind = argument.partition(":")
    kind = kind.strip()
    return {"FILEIN": _TRANSFERS[Transfer.FILE_IN], "FILEOUT": ""}.get(kind, f"{name}: {kind}".replace("|", "\\|"))


def _line(row: Procedure[Any, Any]) -> str:
    arguments = [
        f"{name}{'?' if name in row.optargs else ''}: {_kind(kind, name in row.optargs)}"
        for name, kind in field_kinds(row.args).items()
    ]
    if row.transfer is Transfer.FILE_IN:
        arguments.append(_TRANSFERS[row.transfer])
    result = _TRANSFERS[Transfer.FILE_OUT] if row.transfer is Transfer.FILE_OUT else row.result.name
    implemented = "yes" if row.number in HANDLERS else "no"
    return f"| {row.number} | `{row.name}` | {', '.join(arguments)} | {result} | {implemented} |"


def _kind(kind: Any, is_optional: bool) -> str:
    if is_optional:
        return _kind(get_args(kind)[0], False)
    if get_origin(kind) is list:
        return f"list[{_kind(get_args(kind)[0], False)}]"
    return kind.__name__ if hasattr(kind, "__supertype__") else codec_of(kind).name


def index() -> str:
    """Return daemon/index.py."""
    import_handlers()
    numbers: dict[str, list[int]] = {}
    for number, handler in sorted(HANDLERS.items()):
        numbers.setdefault(handler.function.__module__.removeprefix("daemon."), []).append(number)
    lines = [
        '"""Which module of the daemon answers which calls: written by ``python -m tools.procedures``."""',
        "",
        "from typing import Final",
        "",
        "# fmt: off",
        "NUMBERS: Final = {",
    ]
    for module, known in sorted(numbers.items()):
        written = ", ".join(map(str, known)) + ("," if len(known) == 1 else "")
        wrapped = textwrap.wrap(f'    "{module}": ({written}),', 116, subsequent_indent=" " * 8)
        lines += wrapped
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    DOCUMENT.write_text(document())
    INDEX.write_text(index())
