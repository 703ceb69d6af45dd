"""Whole trees as streams: tar archives in and out, checksums of all files out."""

import os
from collections.abc import Iterator
from contextlib import suppress
from errno import ENOENT
from typing import Final

from daemon.confined import feed_confined, located, stream_confined
from daemon.names import new_name
from daemon.registry import receives, streams
from daemon.session import CallError, Pieces, Session
from rpc import procedures
from rpc.codec import GuestPath
from rpc.procedures.archives import ChecksumsOutArgs, TarInArgs, TarOutArgs, TgzInArgs

_COMPRESSORS: Final = ("compress", "gzip", "bzip2", "xz", "lzop")
"""What ``compress`` may name: programs, and options of tar(1)."""
_SUMS: Final = {
    "crc": "cksum",
    **{f"{kind}": f"{kind}sum" for kind in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")},
}


def _compression(name: str | None) -> list[str]:
    if name is None:
        return []
    if name not in _COMPRESSORS:
        raise CallError(f"unknown compression type {name}; known: {' '.join(_COMPRESSORS)}")
    located(name)
    return [f"--{name}"]


def _attributes(args: TarInArgs | TarOutArgs) -> list[str]:
    chosen = (("--xattrs", args.xattrs), ("--selinux", args.selinux), ("--acls", args.acls))
    return [flag for flag, wanted in chosen if wanted]


@receives(procedures.TAR_IN)
def tar_in(session: Session, args: TarInArgs, pieces: Iterator[bytes]) -> None:
    """Unpack an archive in a directory; what was unpacked stays if the transfer ends early."""
    argv = ["tar", "-x", "-f", "-", *_compression(args.compress), *_attributes(args)]
    if args.xattrs:
        argv.append("--xattrs-include=*")  # else tar restores the user's only
    if not _keeps_owners(session, args.directory):
        argv.append("--no-same-owner")
    feed_confined(session, argv, args.directory, pieces)


def _keeps_owners(session: Session, directory: bytes) -> bool:
    """Tell whether files in a directory can be given to somebody; filesystems of Windows know no owners."""
    with session.sysroot:
        os.chdir(directory)
        name = new_name(b".owner-", b"")
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            os.chown(name, 1000, 1000)
        except OSError:
            return False
        finally:
            with suppress(OSError):
                os.unlink(name)
    return True


@streams(procedures.TAR_OUT)
def tar_out(session: Session, args: TarOutArgs) -> Pieces:
    """Pack a directory into an archive; a link to a directory is followed, links in it are packed as links."""
    session.must_be_mounted()
    directory = os.fsencode(args.directory)
    if not directory.startswith(b"/"):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), args.directory)
    argv = ["tar", "-c", "-f", "-", *_compression(args.compress), *_attributes(args)]
    if args.numericowner:
        argv.append("--numeric-owner")
    argv += [f"--exclude={pattern}" for pattern in args.excludes or ()]
    return stream_confined(session, [*argv, "."], directory)


@receives(procedures.TGZ_IN)
def tgz_in(session: Session, args: TgzInArgs, pieces: Iterator[bytes]) -> None:
    """Unpack an archive that gzip has compressed."""
    tar_in(session, TarInArgs(args.directory, "gzip"), pieces)


@streams(procedures.TGZ_OUT)
def tgz_out(session: Session, args: TgzInArgs) -> Pieces:
    """Pack a directory into an archive compressed by gzip."""
    return tar_out(session, _packed(args.directory, "gzip"))


@receives(procedures.TXZ_IN)
def txz_in(session: Session, args: TgzInArgs, pieces: Iterator[bytes]) -> None:
    """Unpack an archive that xz has compressed."""
    tar_in(session, TarInArgs(args.directory, "xz"), pieces)


@streams(procedures.TXZ_OUT)
def txz_out(session: Session, args: TgzInArgs) -> Pieces:
    """Pack a directory into an archive compressed by xz."""
    return tar_out(session, _packed(args.directory, "xz"))


def _packed(directory: GuestPath, compress: str) -> TarOutArgs:
    return TarOutArgs(os.fsdecode(directory), compress)


@streams(procedures.CHECKSUMS_OUT)
def checksums_out(session: Session, args: ChecksumsOutArgs) -> Pieces:
    """Stream the checksums of all regular files below a directory, as the programs for them print them."""
    if args.csumtype not in _SUMS:
        raise CallError(f"unknown checksum type {args.csumtype}; known: {' '.join(_SUMS)}")
    argv = ["find", ".", "-type", "f", "-exec", _SUMS[args.csumtype], "--", "{}", "+"]
    return stream_confined(session, argv, args.directory)
