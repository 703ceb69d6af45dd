"""Opening encrypted devices in the guest, before anything is mounted."""

from collections.abc import Sequence
from contextlib import suppress
from string import digits
from typing import Final, NamedTuple

import trio

from guestmount_py.handle import Guest
from guestmount_py.keys import Keys, forbid_core_dumps
from rpc.errors import GuestmountError, ProcedureError
from rpc.mountables import mapping_of_volume

ENCRYPTED_TYPES: Final = frozenset(("crypto_LUKS", "BitLocker"))
_HEAD_BYTES: Final = 16
_LUKS: Final = b"LUKS\xba\xbe"
_BITLOCKER: Final = (b"-FVE-FS-", b"MSWIN4.1")
"""The other is that of a medium that older systems take for a FAT, and of most FATs."""


class Encrypted(NamedTuple):
    """An encrypted device; ``uuid`` is empty if it has none."""

    device: str
    uuid: str

    @property
    def opened(self) -> str:
        """Return the path of what is in it once it is open, as libguestfs's programs name it."""
        letters = self.device.removeprefix("/dev/")
        name = f"luks-{self.uuid}" if self.uuid else "crypt" + "".join(filter(str.isalnum, letters))
        return f"/dev/mapper/{name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Return what a selector may call it: ``/dev/VG/LV`` is also ``/dev/mapper/VG-LV``, dashes doubled."""
        parts = self.device.removeprefix("/dev/").split("/")
        mapped = f"/dev/mapper/{mapping_of_volume(*parts)}" if len(parts) == 2 else self.device
        return (self.device, self.uuid or self.device, mapped)


async def unlock(guest: Guest, keys: Keys, wanted: Sequence[str] | None, *, writable: bool) -> list[str]:
    """Open encrypted devices, also those that are inside others, until no wanted device is missing.

    The appliance is launched again if it has not the memory that LUKS2 may take.

    Args:
        guest: launched, with nothing mounted.
        keys: of the devices.
        wanted: devices that are to be there; None to open whatever is encrypted.
        writable: what is in them is to be written to.

    Returns:
        a line on each device that stays closed, and why.

    Raises:
        GuestmountError: there is no key for a device, and without it one that is wanted is missing.
    """
    if wanted is not None and not (wanted := await _missing(guest, wanted)):
        return []
    seen: set[str] = set()
    found = await encrypted_devices(guest, seen)
    if found and guest.config.memory_mib is None and not guest.config.encrypted:
        await guest.shutdown()
        guest.configure(encrypted=True)
        await guest.launch()
    if found:
        forbid_core_dumps()
        forbid_core_dumps(guest.pid)
    failures: dict[str, str] = {}
    is_news = False
    while found and wanted != []:
        each = min(found, key=lambda each: each.opened not in (wanted or ()))  # what is asked for by name comes first
        found.remove(each)
        reason = await _open(guest, each, keys, read_only=not writable)
        if reason:
            failures[each.device] = f"{each.device} is encrypted and stays closed: {reason}"
            if each.opened in (wanted or ()):
                break
        else:
            is_news = True
            wanted = wanted and [name for name in wanted if name != each.opened]
        if is_news and wanted != [] and not any(wanted is None or other.opened in wanted for other in found):
            await guest.lvm_scan(True)
            is_news = False
            wanted = wanted and await _missing(guest, wanted)
            found += await encrypted_devices(guest, seen)
    if wanted and failures:
        raise GuestmountError(f"cannot mount {wanted[0]}: {'; '.join(failures.values())}")
    return list(failures.values())


async def _missing(guest: Guest, names: Sequence[str]) -> list[str]:
    missing = []
    for name in names:
        try:
            await guest.blockdev_getsize64(name)
        except ProcedureError:
            missing.append(name)
    return missing


async def encrypted_devices(guest: Guest, seen: set[str]) -> list[Encrypted]:
    """Find the encrypted devices among those not seen yet: disks with their partitions, then what they make up.

    Args:
        guest: launched.
        seen: devices that have been looked at; it is added to.
    """
    partitions = await guest.list_partitions()
    devices = []
    for disk in await guest.list_devices():
        devices += [part for part in partitions if part.rstrip(digits) == disk] or [disk]
    devices += [part for part in partitions if part not in devices]  # of arrays
    devices += [*await guest.list_md_devices(), *await guest.list_dm_devices(), *await guest.lvs()]
    found = []
    for device in devices:
        if device in seen:
            continue
        seen.add(device)
        with suppress(ProcedureError):  # a device that cannot be read
            head = await guest.pread_device(device, _HEAD_BYTES, 0)
            if head.startswith(_LUKS) or head[3:].startswith(_BITLOCKER):  # cheaper than to ask blkid about each
                known = dict(await guest.blkid(device))
                if known.get("TYPE") in ENCRYPTED_TYPES:
                    found.append(Encrypted(device, known.get("UUID", "")))
    return found


async def _open(guest: Guest, encrypted: Encrypted, keys: Keys, *, read_only: bool) -> str:
    """Open a device with the keys that were given for it, or somebody tells; return why none does, else nothing."""
    name = encrypted.opened.rpartition("/")[2]
    given = keys.of(encrypted.names)
    reason = ""
    for attempt in range(len(given) or keys.attempts):
        if given:
            key = given[attempt]
        else:
            prompt = f'{reason}{": " if reason else ""}Enter key or passphrase ("{encrypted.device}"):'
            try:
                key = await trio.to_thread.run_sync(keys.ask, prompt, abandon_on_cancel=True)
            except GuestmountError as exc:
                return str(exc)
        try:
            await guest.cryptsetup_open(encrypted.device, key, name, readonly=read_only)
        except ProcedureError as exc:
            reason = exc.message.rstrip(".")
        else:
            return ""
    return reason
