"""What the calls of a mixture answered, in a form that two appliances can have in common."""

import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.interoperability.library import Library, LibraryError
from tests.interoperability.mixture import Call
from tests.interoperability.stage import refusal

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_LVM_UUID: Final = re.compile(r"\b\w{6}(-\w{4}){5}-\w{6}\b")
_EACH_ITS_OWN: Final = ("st_dev", "dev", "st_atime_sec", "st_atime_nsec", "atime")
"""The kernel's number of a device, and when something was read last, be it by the daemon itself."""
_RECENT_S: Final = 24 * 3600
_KEPT_BYTES: Final = 64


def outcomes(library: Library, calls: Iterable[Call], target: str) -> list[str]:
    """Make the calls; return them with their answers, or how they were refused, a line each.

    Args:
        library: a launched handle.
        calls: generated while they are made, because uploads read files that the generator writes.
        target: the local file that downloads go to.
    """
    place = str(Path(target).parent)
    lines = (f"{number} {call}: {_outcome(library, call, target)}" for number, call in enumerate(calls))
    return [line.replace(place, "") for line in lines]


def without_identifiers(text: str) -> str:
    """Leave out UUIDs, which are new in each run."""
    return _LVM_UUID.sub("<uuid>", _UUID.sub("<uuid>", text))


def _outcome(library: Library, call: Call, target: str) -> object:
    into_file = target in call.arguments
    if into_file:
        Path(target).unlink(missing_ok=True)
    try:
        value = library.call(call.name, call.arguments, call.keywords)
    except LibraryError as exc:
        return refusal(exc)
    return _plain(Path(target).read_bytes() if into_file else value)


def _plain(value: Any) -> object:
    """Leave out what is new in each run; shorten what is long.

    New are times of now and random identifiers; a listing comes in no order.
    """
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in _EACH_ITS_OWN}
        return {key: "now" if _is_recent(key, item, value) else _plain(item) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping) and "ftyp" in value[0]:
        value = sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return without_identifiers(value)
    if isinstance(value, bytes) and len(value) > _KEPT_BYTES:
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}"
    return value


def _is_recent(key: str, value: Any, stat: Mapping[str, Any]) -> bool:
    """Tell a time of this run, or its nanoseconds, from one that was set."""
    if not re.fullmatch(r"(st_)?[amc]time(_n?sec)?", key):
        return False
    seconds = stat.get(key.replace("_nsec", "_sec"), value)
    return bool(abs(time.time() - seconds) < _RECENT_S)
