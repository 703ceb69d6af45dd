"""guestmount-py list: what is on disks, as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

import trio

from guestmount_py.drive_options import Parser, add_drive_options, selected_keys
from guestmount_py.events import LogMessage
from guestmount_py.handle import Guest
from guestmount_py.image_keys import with_image_keys
from guestmount_py.interruption import interruptible
from guestmount_py.keys import Ask, Keys, KeySelector, forbid_core_dumps, hide_keys
from guestmount_py.list_disks import Thing, list_disks
from guestmount_py.printable import printable
from guestmount_py.prompt import asking
from rpc.errors import GuestmountError, UsageError

_EPILOG: Final = """\
Encrypted devices are opened if --key or --keys-from-stdin gives a key, and what is in them is listed too.
--json writes an object with a list for each kind: "disks", "partitions", "arrays", "mappings", "encrypted_devices",
"physical_volumes", "volume_groups", "logical_volumes", "filesystems", "systems". Each thing has "name", "type",
"label", "uuid", "size_bytes" and "parents"; partitions "number", "start_bytes" and "part_type" besides, disks "image",
systems "mountpoints": the device of each place. null is what there is not.

Exit status: 0 done, 1 something failed, 2 the command line was wrong, 130 interrupted.
"""
_COLUMNS: Final = ("NAME", "KIND", "TYPE", "LABEL", "SIZE", "PARENT", "UUID")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_KINDS: Final = (
    *("disk", "partition", "array", "mapping", "encrypted device"),
    *("physical volume", "volume group", "logical volume", "filesystem", "system"),
)

_MORE: Final = {"partition": {"number", "start_bytes", "part_type"}, "system": {"mountpoints"}}
"""Fields that some kinds only have in JSON."""
_NOT_OF_ALL: Final = set().union(*_MORE.values())


def _parser() -> Parser:
    import argparse

    parser = Parser(
        prog="guestmount-py list",
        usage="%(prog)s -a IMAGE [-a IMAGE ...] [--json] [options]",
        description="List partitions, filesystems, volumes, arrays and encrypted devices of a virtual machine's disks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_drive_options(parser)
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what takes long")
    return parser


def _run(arguments: Sequence[str]) -> None:
    """Do what the command line says.

    Raises:
        GuestmountError: it failed.
        KeyboardInterrupt: it was interrupted, by SIGTERM or SIGHUP too.
    """
    if any(":key:" in word or "://" in word for word in arguments):
        hide_keys()
    options = _parser().parse_args(arguments)
    if not options.drives:
        raise UsageError("no disk image: give one with -a, or a libvirt domain with -d")
    keys = selected_keys(options)
    if keys:
        forbid_core_dumps()
    ask = asking(from_stdin=options.keys_from_stdin, echo=options.echo_keys)
    found: list[Thing] = []

    async def work() -> None:
        found.extend(await _listed(options.drives, keys, ask, from_stdin=options.keys_from_stdin))

    trio.run(interruptible, work)
    images = [str(drive.path) for drive in options.drives]
    write = sys.stdout.write
    try:
        write(_as_json(found, images) if options.json else _as_table(found))
        sys.stdout.flush()
    except BrokenPipeError:  # head has seen enough
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _listed(drives: Sequence[Any], given: Sequence[KeySelector], ask: Ask, *, from_stdin: bool) -> list[Thing]:
    keys = Keys(given, ask, 1)
    async with Guest() as guest:
        guest.subscribe(LogMessage, lambda event: _say(event.text))
        for drive in await with_image_keys(drives, keys):
            guest.add_drive(
                drive.path,
                format=drive.format,
                blocksize_bytes=drive.blocksize_bytes,
                snapshot=drive.snapshot,
                key=drive.key,
            )
        if given or from_stdin:
            guest.configure(encrypted=True)
        await guest.launch()
        if given or from_stdin:
            from guestmount_py.unlocking import unlock

            for closed in await unlock(guest, keys, None, writable=False):
                _say(f"warning: {closed}")
        return await list_disks(guest, _say)


def _as_json(things: Sequence[Thing], images: Sequence[str]) -> str:
    whole: dict[str, list[dict[str, Any]]] = {_plural(kind): [] for kind in _KINDS}
    paths = iter(images)
    for thing in things:
        fields: dict[str, Any] = {name: None if value == "" else value for name, value in thing._asdict().items()}
        fields["mountpoints"] = dict(thing.mountpoints)
        for name in _NOT_OF_ALL - _MORE.get(thing.kind, set()) | {"kind"}:
            del fields[name]
        if thing.kind == "disk":
            fields["image"] = next(paths, None)
        whole[_plural(thing.kind)].append(fields)
    return json.dumps(whole, indent=2) + "\n"


def _plural(kind: str) -> str:
    return f"{kind.replace(' ', '_')}s"


def _as_table(things: Sequence[Thing]) -> str:
    """Return a line for each thing, in columns."""
    rows = [_COLUMNS, *(_row(thing) for thing in things)]
    rows = [tuple(printable(cell) or "-" for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _row(thing: Thing) -> tuple[str, ...]:
    size = "" if thing.size_bytes is None else human_size(thing.size_bytes)
    return (thing.name, thing.kind, thing.type, thing.label, size, ",".join(thing.parents), thing.uuid)


def human_size(count: int) -> str:
    """Return a number of bytes in the largest unit that it is one of, to a tenth."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}".replace(".0 ", " ")


def _say(text: str) -> None:
    sys.stderr.write(f"guestmount-py: {printable(text)}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Do what the command line behind ``guestmount-py list`` says; return the exit status."""
    try:
        _run(arguments)
    except GuestmountError as exc:
        _say(str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
