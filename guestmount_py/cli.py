"""guestmount-py's command line: options in guestmount's order-sensitive way, errors as one line and an exit status."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from guestmount_py import VERSION
from guestmount_py.config import DEFAULT_CACHE_MIB, MIN_CACHE_MIB, PLANES, GuestMount, MountConfig
from guestmount_py.drive_options import Parser, add_drive_options, selected_keys
from guestmount_py.keys import hide_keys
from guestmount_py.printable import printable
from rpc.errors import GuestmountError, UsageError

_EPILOG: Final = """\
The mount is read-only unless --rw is given. The program returns when the mount is ready; 'guestunmount-py DIRECTORY'
ends it. 'guestmount-py list --help' tells how to see what is on a disk, 'guestmount-py overlay --help' what can be done
with an overlay.

Exit status: 0 the mount is ready (with --no-fork: it was unmounted), 1 something failed, 2 the command line was wrong.
Every failure is one line on standard error: what failed, on what, what to do.
"""
_FUSE_HELP: Final = """\
-o allow_other           let other users use the mount, under the guest's permissions
-o allow_root            the same for root only
-o default_permissions   let the kernel check the guest's permissions for everyone
-o fsname=NAME           the name in df and findmnt, by default the first image
-o OPTION                any other option of mount.fuse3(8)
"""
_LATER: Final = {
    "--live": "live access",
}
_OVERLAY_WORDS: Final = ("diff", "commit", "discard", "-h", "--help")
"""What follows the word overlay, unless that is the name of a directory to mount on."""


class _Later(argparse.Action):
    def __call__(self, _parser: object, _namespace: object, _value: object, option: str | None = None) -> None:
        long_name = next(name for name in self.option_strings if name.startswith("--"))
        raise UsageError(f"{option}: {_LATER[long_name]}: not supported yet")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of guestmount-py's options."""
    parser = Parser(
        prog="guestmount-py",
        usage="%(prog)s -a IMAGE [-a ...] -i | -m DEVICE[:MOUNTPOINT[:OPTIONS[:FSTYPE]]] [-m ...] [options] DIRECTORY",
        description="Mount the filesystems inside a virtual machine's disk on a local directory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("directory", metavar="DIRECTORY", type=Path, nargs="?", help="where to mount")
    add_drive_options(parser)
    add("-m", "--mount", metavar="DEV", action="append", default=[], help="mount DEV[:MOUNTPOINT[:OPTIONS[:FSTYPE]]]")
    add("-i", "--inspector", action="store_true", help="find an operating system, and mount what it mounts")
    add("--root", metavar="first|single|N|DEVICE", help="which operating system, if there are several")
    add("--all", action="store_true", help="mount all operating systems and all filesystems, a directory for each")
    add("--overlay", metavar="FILE", action="append", type=Path, default=[], help="write to this qcow2 overlay instead")
    add("-r", "--ro", action="store_true", help="mount read-only (the default)")
    add("-w", "--rw", action="store_true", help="mount for writing, to the images themselves or to overlays")
    add("-o", "--option", metavar="OPTION", action="append", default=[], help="FUSE option, see --fuse-help")
    add("--dir-cache-timeout", metavar="N", type=int, help="accepted and ignored: what is kept is always true")
    add("--no-fork", action="store_true", help="stay in the foreground")
    add("--no-template", action="store_true", help="boot the appliance instead of restoring one that has booted before")
    add("--pid-file", metavar="FILE", type=Path, help="write the process id; removed when the appliance is gone")
    add("--fd", metavar="N", type=int, help="write a byte to this descriptor when the mount is ready")
    add("--stats", metavar="FILE", type=Path, help="write what was done, and how, as JSON at the end and on SIGUSR1")
    add(
        "--plane",
        choices=PLANES,
        default="auto",
        help="read files from the image where possible, by qemu, or by the guest",
    )
    add(
        "--cache-mib",
        metavar="N",
        type=int,
        default=DEFAULT_CACHE_MIB,
        help=f"keep at most N MiB of listings, maps and contents (default {DEFAULT_CACHE_MIB})",
    )
    add("-n", "--no-sync", action="store_true", help="accepted and ignored")
    add("--selinux", action="store_true", help="accepted and ignored")
    add("-v", "--verbose", action="store_true", help="log more, with the appliance's console")
    add("-x", "--trace", action="store_true", help="log every call to the daemon")
    add("-V", "--version", action="version", version=f"%(prog)s {VERSION}")
    add("--fuse-help", action="store_true", help="list the FUSE options and exit")
    add("--live", action=_Later, nargs=0, help="not supported yet")
    return parser


def parse(arguments: Sequence[str]) -> MountConfig:
    """Return what the command line asks for.

    Raises:
        UsageError: it makes no sense.
    """
    options = build_parser().parse_args(arguments)
    if options.fuse_help:
        sys.stdout.write(_FUSE_HELP)
        raise SystemExit(0)
    if not options.drives:
        raise UsageError("no disk image: give one with -a, or a libvirt domain with -d")
    if not (options.mount or options.inspector or options.all):
        raise UsageError("nothing to mount: give -i, or a device with -m, such as -m /dev/sda1")
    if options.all and (options.mount or options.inspector):
        raise UsageError("--all mounts everything: leave -m and -i out")
    if options.root is not None and not options.inspector:
        raise UsageError("--root chooses what -i mounts: give -i as well")
    if options.directory is None:
        raise UsageError("no directory to mount on: give one as the last argument")
    if options.cache_mib < MIN_CACHE_MIB:
        raise UsageError(f"--cache-mib {options.cache_mib}: too little to work with: give at least {MIN_CACHE_MIB}")
    if options.overlay and len(options.overlay) != len(options.drives):
        raise UsageError("--overlay: give one for each -a, in the same order")
    if options.rw and options.ro:
        raise UsageError("--ro and --rw: give one of them")
    for domain in options.domains:
        domain.check(writable=options.rw)
    fuse_options = tuple(word for text in options.option for word in text.split(",") if word)
    for word in fuse_options:
        if not word.isascii():
            raise UsageError(f"-o {word}: not an option of FUSE")
        if word == ("ro" if options.rw else "rw"):
            raise UsageError(
                f"-o {word}: {'--rw was given' if options.rw else '--rw mounts for writing'}: leave it out"
            )
    return MountConfig(
        drives=options.drives,
        mounts=tuple(GuestMount.parse(text) for text in options.mount),
        mountpoint=options.directory,
        fuse_options=fuse_options,
        foreground=options.no_fork,
        pid_file=options.pid_file,
        ready_fd=options.fd,
        verbose=options.verbose,
        trace=options.trace,
        template=not options.no_template,
        stats=options.stats,
        plane=options.plane,
        cache_mib=options.cache_mib,
        writable=options.rw,
        overlays=tuple(options.overlay),
        inspect=options.inspector,
        root=options.root,
        everything=options.all,
        keys=selected_keys(options),
        keys_from_stdin=options.keys_from_stdin,
        echo_keys=options.echo_keys,
    )


def main() -> int:
    """Run guestmount-py; return its exit status."""
    try:
        if sys.argv[1:2] == ["overlay"] and (len(sys.argv) == 2 or sys.argv[2] in _OVERLAY_WORDS):
            from guestmount_py import overlay_cli

            return overlay_cli.main(sys.argv[2:])
        if sys.argv[1:2] == ["list"] and len(sys.argv) > 2:
            from guestmount_py import list_cli

            return list_cli.main(sys.argv[2:])
        if any(":key:" in word or "://" in word for word in sys.argv):
            hide_keys()
        config = parse(sys.argv[1:])
        from guestmount_py.daemonize import run_mount

        return run_mount(config)
    except GuestmountError as exc:
        sys.stderr.write(f"guestmount-py: {printable(str(exc))}\n")
        return exc.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("guestmount-py: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
