"""Calls that leave nothing behind to be looked for: which program they run is all that can be proven."""

from typing import Any

import pytest

from daemon import blockdev, btrfs_repair, lvm_changes
from daemon.registry import HANDLERS
from rpc.arguments import DeviceArgs, NoArgs
from rpc.codec import Device
from rpc.procedures import BLOCKDEV_SETBSZ, BTRFS_RESCUE_CHUNK_RECOVER, VGSCAN
from rpc.procedures.devices import BlockdevSetbszArgs
from tools.procedures import import_handlers

import_handlers()


@pytest.mark.parametrize(
    ("procedure", "module", "runner", "args", "command"),
    [
        # LVM looks at the disks with every command; what vgscan does on top is to print what it finds.
        (VGSCAN, lvm_changes, "lvm", NoArgs(), "vgscan"),
        # The size is that of a descriptor which is closed at once.
        (BLOCKDEV_SETBSZ, blockdev, "run", BlockdevSetbszArgs(Device("/dev/x"), 2048), "blockdev --setbsz 2048 /dev/x"),
        # btrfs-progs 6.2 reads the whole device and gives up at its first block, with status 0.
        (
            BTRFS_RESCUE_CHUNK_RECOVER,
            btrfs_repair,
            "run",
            DeviceArgs(Device("/dev/x")),
            "btrfs rescue chunk-recover -y /dev/x",
        ),
    ],
)
def test_program_runs(
    procedure: Any, module: Any, runner: str, args: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(module, runner, lambda *words: commands.append(list(words[0] if runner == "run" else words)))
    HANDLERS[procedure.number].function(None, args)
    assert [" ".join(words) for words in commands] == [command]
