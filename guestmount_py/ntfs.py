"""NTFS that Windows has not finished with: it may be read, but who writes to it may destroy it."""

from struct import Struct
from typing import Final

from guestmount_py.handle import Guest
from rpc.errors import ProcedureError

OVERRIDING: Final = frozenset(("recover", "remove_hiberfile"))
"""Options of ntfs-3g(8) that say: write to it all the same."""
_PROBED: Final = {
    14: "Windows is hibernated on it, or was shut down with fast startup",
    15: "Windows did not unmount it",
}
"""What ntfs-3g.probe(8) ends with."""
_DIRTY: Final = "Windows has marked it to be checked by chkdsk"
_SECTOR_BYTES: Final = 512
_GEOMETRY: Final = Struct("<3x8sHB34xQ8xb")
"""Of the first sector (Linux: fs/ntfs3/ntfs.h): name, bytes of a sector, sectors of a cluster, the cluster that the
table of all files begins at, and clusters of one of its records, or if negative a power of two of bytes."""
_NAME: Final = b"NTFS    "
_RECORD: Final = Struct("<4s16xH")
"""Its mark, and where its attributes begin, each at a multiple of eight.

Of what is read here nothing is in the last two bytes of a sector, which are kept elsewhere.
"""
_MARK: Final = b"FILE"
_RECORD_MAX_BYTES: Final = 4096
_OFFSET_MAX: Final = 1 << 63
_VOLUME: Final = 3
"""The number of the record that describes the volume."""
_ATTRIBUTE: Final = Struct("<IH14xH")
"""Its type and (of 32 bits those that count) its length, and where its value begins."""
_VOLUME_INFORMATION: Final = 0x70
_FLAGS: Final = Struct("<10xH")
_IS_DIRTY: Final = 1


async def why_unsafe(guest: Guest, device: str) -> str:
    """Return why what is on a device, which is not mounted yet, must not be written to; empty if it is no such NTFS."""
    try:
        head = await guest.pread_device(device, _SECTOR_BYTES, 0)
        if len(head) < _SECTOR_BYTES or _GEOMETRY.unpack_from(head)[0] != _NAME:
            return ""
        if reason := _PROBED.get(await guest.ntfs_3g_probe(True, device)):
            return reason
        place, size_bytes = record_of_volume(head)
        if size_bytes > _RECORD_MAX_BYTES or place >= _OFFSET_MAX - size_bytes:
            return ""
        return _DIRTY if flags_of(await guest.pread_device(device, size_bytes, place)) & _IS_DIRTY else ""
    except ProcedureError:
        return ""  # to mount it will fail as well, and say why


def record_of_volume(head: bytes) -> tuple[int, int]:
    """Return offset and length in bytes of the record that describes the volume; neither need make sense."""
    _, sector_bytes, sectors, start, clusters = _GEOMETRY.unpack_from(head)
    cluster_bytes = sector_bytes * (sectors if sectors <= 128 else 1 << 256 - sectors)
    size_bytes = clusters * cluster_bytes if clusters > 0 else 1 << -clusters
    return start * cluster_bytes + _VOLUME * size_bytes, size_bytes


def flags_of(data: bytes) -> int:
    """Return the flags of a volume, given its record; 0 if that makes no sense."""
    if len(data) < _RECORD.size or not data.startswith(_MARK):
        return 0
    _, offset = _RECORD.unpack_from(data)
    while offset + _ATTRIBUTE.size <= len(data):
        kind, length, value = _ATTRIBUTE.unpack_from(data, offset)
        if kind == _VOLUME_INFORMATION and offset + value + _FLAGS.size <= len(data):
            return int(_FLAGS.unpack_from(data, offset + value)[0])
        if kind > _VOLUME_INFORMATION or not length:
            break
        offset += length
    return 0
