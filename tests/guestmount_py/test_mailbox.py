"""Long data reach a real guest by the mailbox."""

import os
from pathlib import Path

import pytest

from appliance.config import ApplianceFiles
from guestmount_py import Guest
from guestmount_py.drafts import LONG_STEP_MAX_BYTES, Draft
from guestmount_py.mailbox import MAILBOX_BYTES
from rpc import procedures
from rpc.changes import DIRECT_BYTES, PAGE_BYTES, Change, encode_changes
from rpc.codec import GuestPath, UInt32, UInt64
from rpc.constants import MAILBOX_SERIAL, MAILBOX_SLOT_BYTES
from rpc.errors import ProcedureError
from rpc.procedures.writing import ChangeFilesArgs, MakeFileArgs, OpenMailboxArgs

pytestmark = [pytest.mark.appliance, pytest.mark.usefixtures("appliance_files")]


async def test_data_arrive_as_they_were_sent(tmp_path: Path, appliance_files: ApplianceFiles) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    data = os.urandom((1 << 20) - 5)
    async with Guest() as g:
        g.add_drive(image, format="raw", writable=True)
        await g.launch()
        await g.mkfs("ext4", "/dev/sda")
        await g.mount("/dev/sda", "/")
        async with g.writing() as writing:
            assert await g.call(procedures.OPEN_MAILBOX, OpenMailboxArgs(MAILBOX_SERIAL)) == MAILBOX_BYTES
            zero = UInt32(0)
            mode = UInt32(0o100600)
            await g.call(procedures.MAKE_FILE, MakeFileArgs(GuestPath(b"/file"), mode, UInt64(0), zero, zero, b""))
            (answer,) = await writing.change([Change(b"/file", writes=[(3, data)])])
            assert (answer.errno, answer.written) == (0, len(data))
            assert await g.read_file("/file") == b"\0\0\0" + data
            assert await g.debug("sh", ["nproc"]) == str(g.config.cpus)
            outside = ChangeFilesArgs(b"", UInt64(MAILBOX_BYTES), UInt32(512))
            with pytest.raises(ProcedureError):
                await g.call(procedures.CHANGE_FILES, outside)


@pytest.mark.parametrize("run_bytes", [1, DIRECT_BYTES, DIRECT_BYTES + 1, 1 << 20, LONG_STEP_MAX_BYTES])
def test_longest_step_of_a_file_fits_into_a_slot_however_it_is_cut(run_bytes: int) -> None:
    draft = Draft(LONG_STEP_MAX_BYTES)
    data = bytes(run_bytes)
    offset = 0
    while draft.write(offset, data, append=False):
        offset += -(-2 * run_bytes // PAGE_BYTES) * PAGE_BYTES
    change = draft.as_change(Change(b"/" + b"x" * 4095))
    assert change.writes
    assert sum(map(len, encode_changes([change]))) <= MAILBOX_SLOT_BYTES
