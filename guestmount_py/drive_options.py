"""The options of every command that takes disks: ``-a`` and what is said of the images that follow."""

import argparse
from typing import Any, NoReturn

from appliance.config import Drive
from guestmount_py.config import BLOCKSIZES
from guestmount_py.keys import KeySelector
from guestmount_py.uri import parse_image
from rpc.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors of ours."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        raise UsageError(f"{message}: see '{self.prog} --help'")


class _AddDrive(argparse.Action):
    """Take the format, snapshot and block size in force where ``-a`` stands."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, value: Any, _option: str | None = None) -> None:
        drive = Drive(
            path=parse_image(value),
            format=namespace.format,
            blocksize_bytes=namespace.blocksize,
            snapshot=namespace.snapshot,
        )
        namespace.drives = (*namespace.drives, drive)


class _AddDomain(argparse.Action):
    """Take the disks of a libvirt domain, by the connection in force where ``-d`` stands."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, value: Any, _option: str | None = None) -> None:
        from guestmount_py.domain import find_domain

        domain = find_domain(value, namespace.connect, namespace.blocksize)
        namespace.drives = (*namespace.drives, *domain.disks)
        namespace.domains = (*namespace.domains, domain)


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what disks there are.

    Parsed, ``drives`` has them in order, ``domains`` the libvirt domains among them, and ``key``, ``keys_from_stdin``
    and ``echo_keys`` how to come by keys.
    """
    add = parser.add_argument
    add("-a", "--add", metavar="IMAGE", action=_AddDrive, help="add a disk image or URI; the first is /dev/sda")
    add("--format", metavar="FORMAT", nargs="?", default=None, help="format of the images that follow; = alone: detect")
    add("--snapshot", metavar="NAME", nargs="?", default=None, help="show this internal snapshot of what follows")
    add("--blocksize", metavar="512|4096", nargs="?", type=int, choices=BLOCKSIZES, help="sector size of what follows")
    add("-c", "--connect", metavar="URI", default=None, help="libvirt's URI for the domains that follow")
    add("-d", "--domain", metavar="NAME", action=_AddDomain, help="add the disks of a libvirt domain, by name or UUID")
    add(
        "--key",
        metavar="SELECTOR",
        action="append",
        default=[],
        help="key of an encrypted device or image: NAME:file:FILE or NAME:key:KEY; NAME: a device, a UUID, all",
    )
    add("--keys-from-stdin", action="store_true", help="read the other keys from standard input, a line each")
    add("--echo-keys", action="store_true", help="show keys that are typed")
    parser.set_defaults(drives=(), domains=())


def selected_keys(options: argparse.Namespace) -> tuple[KeySelector, ...]:
    """Return the keys that were given.

    Raises:
        UsageError: one makes no sense.
    """
    return tuple(KeySelector.parse(text) for text in options.key)
