"""libhivex, called from the daemon: a Windows' registry is read, changed and read again."""

import os
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import pytest

from guestmount_py.sync import SyncGuest
from rpc import procedures as rows
from rpc.codec import Int64
from rpc.errors import ProcedureError
from rpc.procedure import Procedure
from tests.guests.matrix import appliance
from tests.guests.systems import windows_disk

pytestmark = [pytest.mark.appliance, pytest.mark.root]

RetT = TypeVar("RetT")

SOFTWARE: Final = b"/Windows/System32/config/SOFTWARE"
REG_SZ: Final = Int64(1)


def call(guest: SyncGuest, row: Procedure[Any, RetT], *values: object, **named: object) -> RetT:
    return guest.call(row, row.args(*values, **named))


@pytest.fixture
def guest() -> Iterator[SyncGuest]:
    with appliance([windows_disk()], writable=False) as launched:
        launched.mount("/dev/sda2", "/")  # what is written goes to an overlay
        yield launched


def test_registry_is_read_and_changed(guest: SyncGuest) -> None:
    with pytest.raises(ProcedureError, match="no hive is open"):
        call(guest, rows.HIVEX_ROOT)
    call(guest, rows.HIVEX_OPEN, SOFTWARE, write=True)
    root = call(guest, rows.HIVEX_ROOT)
    (microsoft,) = (node.hivex_node_h for node in call(guest, rows.HIVEX_NODE_CHILDREN, root))
    assert call(guest, rows.HIVEX_NODE_NAME, microsoft) == "Microsoft"
    assert call(guest, rows.HIVEX_NODE_PARENT, microsoft) == root
    assert call(guest, rows.HIVEX_NODE_GET_CHILD, root, "MICROSOFT") == microsoft
    assert call(guest, rows.HIVEX_NODE_GET_CHILD, root, "none") == 0
    windows = call(guest, rows.HIVEX_NODE_GET_CHILD, microsoft, "Windows NT")
    version = call(guest, rows.HIVEX_NODE_GET_CHILD, windows, "CurrentVersion")
    values = [value.hivex_value_h for value in call(guest, rows.HIVEX_NODE_VALUES, version)]
    assert "EditionID" in [call(guest, rows.HIVEX_VALUE_KEY, value) for value in values]
    assert call(guest, rows.HIVEX_NODE_GET_VALUE, version, "none") == 0
    product = call(guest, rows.HIVEX_NODE_GET_VALUE, version, "productname")
    for row in (rows.HIVEX_VALUE_STRING, rows.HIVEX_VALUE_UTF8):
        assert call(guest, row, product) == "Windows 10 Pro"
    assert call(guest, rows.HIVEX_VALUE_TYPE, product) == REG_SZ
    assert call(guest, rows.HIVEX_VALUE_VALUE, product) == "Windows 10 Pro\0".encode("utf-16-le")

    new = call(guest, rows.HIVEX_NODE_ADD_CHILD, root, "Schlüssel")
    call(guest, rows.HIVEX_NODE_SET_VALUE, new, "a value", REG_SZ, "text\0".encode("utf-16-le"))
    call(guest, rows.HIVEX_NODE_DELETE_CHILD, windows)
    call(guest, rows.HIVEX_COMMIT, None)
    call(guest, rows.HIVEX_COMMIT, "/copy")
    call(guest, rows.HIVEX_CLOSE)
    for path in (SOFTWARE, b"/copy"):
        call(guest, rows.HIVEX_OPEN, path)
        root = call(guest, rows.HIVEX_ROOT)
        new = call(guest, rows.HIVEX_NODE_GET_CHILD, root, "schlüssel")
        value = call(guest, rows.HIVEX_NODE_GET_VALUE, new, "a value")
        assert call(guest, rows.HIVEX_VALUE_STRING, value) == "text"
        microsoft = call(guest, rows.HIVEX_NODE_GET_CHILD, root, "Microsoft")
        assert call(guest, rows.HIVEX_NODE_CHILDREN, microsoft) == []
        with pytest.raises(ProcedureError, match="opened for reading"):
            call(guest, rows.HIVEX_COMMIT, None)
    guest.umount("/")  # though a hive is open
    assert call(guest, rows.HIVEX_NODE_NAME, microsoft) == "Microsoft"


def test_what_makes_no_sense_is_refused(guest: SyncGuest) -> None:
    guest.write("/short", b"regf")
    guest.write("/random", os.urandom(16384))
    guest.ln_s("/proc/kcore", "/link")
    guest.mkfifo(0o644, "/fifo")
    for path in (b"/none", b"/Windows", b"/short", b"/random", b"/link", b"/fifo"):
        with pytest.raises(ProcedureError):
            call(guest, rows.HIVEX_OPEN, path)
    call(guest, rows.HIVEX_OPEN, SOFTWARE)
    root = call(guest, rows.HIVEX_ROOT)
    asking: list[Procedure[Any, Any]] = [rows.HIVEX_NODE_NAME, rows.HIVEX_NODE_CHILDREN, rows.HIVEX_VALUE_VALUE]
    for number in (-1, 1, root + 1, 1 << 62):
        for row in asking:
            with pytest.raises(ProcedureError):
                call(guest, row, Int64(number))
    assert call(guest, rows.HIVEX_ROOT) == root
