"""Disks of servers, which qemu reads by its block drivers: looked at by qemu-img, within a deadline."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from appliance.config import Drive, RemoteDisk
from appliance.drives import SPLIT, CheckedDrive, check_key
from appliance.image_format import CHAINED, PROBED_BYTES, guess_format, is_descriptor, refers_elsewhere
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import read_header
from appliance.secrets import secret_file, secret_object
from appliance.source import DiskSource
from rpc.errors import DriveError

_ANSWER_S: Final = 30.0
_BLOCK_BYTES: Final = 512
_PASSWORD: Final = "password"


async def check_remote(drive: Drive, remote: RemoteDisk) -> CheckedDrive:
    """Look at a server's disk, its first 64 KiB if the format is to be found out.

    Raises:
        DriveError: the server cannot be reached, does not answer, or has no such disk; and as for a file.
    """
    if drive.snapshot is not None or drive.format == SPLIT:
        raise DriveError(f"{remote}: --snapshot and --format=split need local images")
    with ExitStack() as opened:
        source = remote_source(remote, _PASSWORD, opened)
        kind = drive.format or "qcow2"
        if kind == "qcow2":
            start = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="guestmount-py-"))) / "start"
            await _copy_start(remote, source, start)
            kind = drive.format or guess_format(start, str(remote))
            if is_descriptor(start):
                raise refers_elsewhere(str(remote), kind)
        if kind == "qcow2":
            header = read_header(start)
            if header.refers_elsewhere and drive.format is None:
                raise refers_elsewhere(str(remote), kind)
            check_key(drive, header)
        info = json.loads(await _qemu_img(remote, source, "info", image_name(image_node(kind, source.node or {}))))
    chained = drive.format is not None
    return CheckedDrive(remote, kind, chained, int(info["virtual-size"]), drive.blocksize_bytes, key=drive.key)


def remote_source(remote: RemoteDisk, secret: str, stack: ExitStack) -> DiskSource:
    """Return what qemu is given to reach a server.

    Args:
        remote: its disk.
        secret: what to call the password.
        stack: owns the file that the password is in.
    """
    if remote.password is None:
        return DiskSource(remote.node)
    file = secret_file(remote.password, stack)
    return DiskSource({**remote.node, "password-secret": secret}, secrets=((secret, file),))


def image_node(kind: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node of a format on another node; a backing file is left out."""
    return {"driver": kind, "file": node} | ({"backing": None} if kind in CHAINED else {})


def image_name(node: Mapping[str, Any]) -> str:
    """Return what qemu's programs take for a node where they want the name of a file."""
    return f"json:{json.dumps(node)}"


async def _copy_start(remote: RemoteDisk, source: DiskSource, target: Path) -> None:
    count = PROBED_BYTES // _BLOCK_BYTES
    words = (f"bs={_BLOCK_BYTES}", f"count={count}", f"if={image_name(source.node or {})}", f"of={target}")
    await _qemu_img(remote, source, "dd", "-O", "raw", *words)


async def _qemu_img(remote: RemoteDisk, source: DiskSource, command: str, *words: str) -> str:
    argv = ["qemu-img", command, *(["--output=json"] if command == "info" else [])]
    for name, descriptor in source.secrets:
        argv += ["--object", secret_object(name, descriptor)]
    descriptors = [descriptor for _, descriptor in source.secrets]
    try:
        return await run_program([*argv, *words], timeout_s=_ANSWER_S, inherited_fds=descriptors)
    except ProgramFailed as exc:
        raise DriveError(f"{remote}: {_reason(str(exc), exc.messages)}") from exc


def _reason(text: str, messages: str) -> str:
    """Return what to tell of what qemu-img said, the first line of which says what failed."""
    if "did not end" in text:
        return f"does not answer within {_ANSWER_S:.0f} s: is the server up, and not behind a firewall?"
    if "is not installed" in text:
        return f"{text}: install the package qemu-utils"
    lines: Sequence[str] = [line for line in messages.splitlines() if line.strip()]
    words = next((line for line in lines if line.startswith("qemu-img: Could not open")), text)
    words = words.rpartition("}': ")[2].removeprefix("qemu-img: ").strip()
    if "Unknown driver" in words or "Unknown protocol" in words:
        return f"this qemu has no driver for it ({words}): install the package qemu-block-extra"
    return words
