"""Encrypted devices: cryptsetup(8), which reads keys from a file in memory, never from its arguments."""

from typing import Final

from daemon.command import EXTRA_FILE, NOT_RECOGNISED, run, secret, text_of
from daemon.devices import wire_name
from daemon.registry import handles
from daemon.session import CallError, Session
from rpc import procedures
from rpc.arguments import DeviceArgs
from rpc.procedures.luks import (
    CryptsetupOpenArgs,
    LuksAddKeyArgs,
    LuksFormatArgs,
    LuksFormatCipherArgs,
    LuksOpenArgs,
)

_MAPPER: Final = "/dev/mapper/"
_KINDS: Final = {"crypto_LUKS": "luks", "BitLocker": "bitlk"}


def _cryptsetup(key: str, *words: str) -> None:
    with secret(key) as descriptor:
        run(["cryptsetup", "--batch-mode", "--key-file=-", *words], stdin=descriptor)


def _open(device: str, key: str, mapname: str, kind: str, *, read_only: bool = False) -> None:
    """Decrypt a device as ``/dev/mapper/MAPNAME``."""
    if not mapname or "/" in mapname or mapname in (".", "..", "control"):
        raise CallError(f"{mapname}: not the name of a mapping")
    try:
        _cryptsetup(key, "open", *(["--readonly"] if read_only else []), "--type", kind, "--", device, mapname)
    except CallError as exc:
        if "memory" not in str(exc):
            raise
        raise CallError(f"{str(exc).rstrip('.')}: LIBGUESTFS_MEMSIZE=1536 gives the appliance enough") from exc


@handles(procedures.CRYPTSETUP_OPEN)
def cryptsetup_open(_session: Session, args: CryptsetupOpenArgs) -> None:
    """Decrypt a device; what kind of encryption it is, the device says unless the caller does."""
    kind = args.crypttype
    if kind is None:
        found = text_of(["blkid", "-p", "-o", "value", "-s", "TYPE", args.device], accept=NOT_RECOGNISED)
        if found not in _KINDS:
            raise CallError(f"{wire_name(args.device)}: {found or 'nothing that is known'}, not an encrypted device")
        kind = _KINDS[found]
    _open(args.device, args.key, args.mapname, kind, read_only=bool(args.readonly))


@handles(procedures.LUKS_OPEN)
def luks_open(_session: Session, args: LuksOpenArgs) -> None:
    """Decrypt a LUKS device."""
    _open(args.device, args.key, args.mapname, "luks")


@handles(procedures.LUKS_OPEN_RO)
def luks_open_ro(_session: Session, args: LuksOpenArgs) -> None:
    """Decrypt a LUKS device so that it can only be read."""
    _open(args.device, args.key, args.mapname, "luks", read_only=True)


def _close(device: str) -> None:
    if not device.startswith(_MAPPER):
        raise CallError(f"{device}: an open mapping is named {_MAPPER}NAME")
    run(["cryptsetup", "close", "--", device.removeprefix(_MAPPER)])


@handles(procedures.CRYPTSETUP_CLOSE)
def cryptsetup_close(_session: Session, args: DeviceArgs) -> None:
    """Take a mapping away."""
    _close(args.device)


@handles(procedures.LUKS_CLOSE)
def luks_close(_session: Session, args: DeviceArgs) -> None:
    """Take the mapping of a LUKS device away."""
    _close(args.device)


@handles(procedures.LUKS_FORMAT)
def luks_format(_session: Session, args: LuksFormatArgs) -> None:
    """Make a device a LUKS one; what is on it is lost."""
    _cryptsetup(args.key, "--key-slot", str(args.keyslot), "luksFormat", "--", args.device)


@handles(procedures.LUKS_FORMAT_CIPHER)
def luks_format_cipher(_session: Session, args: LuksFormatCipherArgs) -> None:
    """Make a device a LUKS one that uses a given cipher; what is on it is lost."""
    words = ("--cipher", args.cipher, "--key-slot", str(args.keyslot))
    _cryptsetup(args.key, *words, "luksFormat", "--", args.device)


@handles(procedures.LUKS_ADD_KEY)
def luks_add_key(_session: Session, args: LuksAddKeyArgs) -> None:
    """Add a key, with the help of one that fits."""
    command = ["cryptsetup", "--batch-mode", "--key-file=-", "--key-slot", str(args.keyslot)]
    with secret(args.key) as key, secret(args.newkey) as newkey:
        run([*command, "luksAddKey", "--", args.device, EXTRA_FILE], stdin=key, extra=newkey)


@handles(procedures.LUKS_KILL_SLOT)
def luks_kill_slot(_session: Session, args: LuksFormatArgs) -> None:
    """Remove the key in a slot, with the help of one in another slot."""
    _cryptsetup(args.key, "luksKillSlot", "--", args.device, str(args.keyslot))


@handles(procedures.LUKS_UUID)
def luks_uuid(_session: Session, args: DeviceArgs) -> str:
    """Return the UUID of a LUKS device."""
    return text_of(["cryptsetup", "luksUUID", "--", args.device])
