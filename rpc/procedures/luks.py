"""Open and make encrypted devices."""

from typing import Final, NamedTuple

from rpc.arguments import DeviceArgs
from rpc.codec import STRING, VOID, Device, Int32
from rpc.procedure import Procedure


class CryptsetupOpenArgs(NamedTuple):
    """Carry the arguments of ``cryptsetup_open``."""

    device: Device
    key: str
    mapname: str
    readonly: bool | None = None
    crypttype: str | None = None


class LuksOpenArgs(NamedTuple):
    """Carry the arguments of ``luks_open``, ``luks_open_ro``."""

    device: Device
    key: str
    mapname: str


class LuksFormatArgs(NamedTuple):
    """Carry the arguments of ``luks_format``, ``luks_kill_slot``."""

    device: Device
    key: str
    keyslot: Int32


class LuksFormatCipherArgs(NamedTuple):
    """Carry the arguments of ``luks_format_cipher``."""

    device: Device
    key: str
    keyslot: Int32
    cipher: str


class LuksAddKeyArgs(NamedTuple):
    """Carry the arguments of ``luks_add_key``."""

    device: Device
    key: str
    newkey: str
    keyslot: Int32


class ClevisLuksUnlockArgs(NamedTuple):
    """Carry the arguments of ``clevis_luks_unlock``."""

    device: Device
    mapname: str


CRYPTSETUP_OPEN: Final = Procedure(number=508, name="cryptsetup_open", args=CryptsetupOpenArgs, result=VOID)
CRYPTSETUP_CLOSE: Final = Procedure(number=509, name="cryptsetup_close", args=DeviceArgs, result=VOID)
LUKS_OPEN: Final = Procedure(number=257, name="luks_open", args=LuksOpenArgs, result=VOID)
LUKS_OPEN_RO: Final = Procedure(number=258, name="luks_open_ro", args=LuksOpenArgs, result=VOID)
LUKS_CLOSE: Final = Procedure(number=259, name="luks_close", args=DeviceArgs, result=VOID)
LUKS_FORMAT: Final = Procedure(number=260, name="luks_format", args=LuksFormatArgs, result=VOID)
LUKS_FORMAT_CIPHER: Final = Procedure(number=261, name="luks_format_cipher", args=LuksFormatCipherArgs, result=VOID)
LUKS_ADD_KEY: Final = Procedure(number=262, name="luks_add_key", args=LuksAddKeyArgs, result=VOID)
LUKS_KILL_SLOT: Final = Procedure(number=263, name="luks_kill_slot", args=LuksFormatArgs, result=VOID)
LUKS_UUID: Final = Procedure(number=507, name="luks_uuid", args=DeviceArgs, result=STRING)
CLEVIS_LUKS_UNLOCK: Final = Procedure(number=512, name="clevis_luks_unlock", args=ClevisLuksUnlockArgs, result=VOID)
