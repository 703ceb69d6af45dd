"""What launched drives need beside their files, owned until qemu has gone: secrets, texts, servers of snapshots."""

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance.config import RemoteDisk
from appliance.drives import CheckedDrive, check_size
from appliance.process import ProgramFailed, run_program
from appliance.qemu_process import QemuProcess
from appliance.remote import image_name, image_node, remote_source
from appliance.secrets import key_name, secret_file, secret_object
from appliance.sockets import bind_nameless
from appliance.source import DiskSource
from rpc.errors import DriveError

_SERVER: Final = "qemu-nbd"
_ACTIVATED: Final = (
    *("sh", "-c", '[ "$PPID" = "$1" ] || exit; shift; exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'),
    "sh",
)
"""The listening socket comes as standard input; systemd's protocol wants it as descriptor 3 (sd_listen_fds(3))."""
_ANSWER_S: Final = 30.0


@asynccontextmanager
async def opened_source(drive: CheckedDrive, index: int) -> AsyncIterator[CheckedDrive]:
    """Own what a drive needs beside its file; yield it as qemu is to see it.

    Raises:
        DriveError: the server of a snapshot does not come up.
    """
    with ExitStack() as stack:
        source = DiskSource()
        if isinstance(drive.path, RemoteDisk):
            source = remote_source(drive.path, f"password{index}", stack)
        elif drive.text is not None:
            source = _text_source(drive.text, stack)
        elif drive.snapshot is not None:
            drive, source = await _snapshot_source(drive, drive.path, drive.snapshot, index, stack)
        if drive.key is not None and drive.snapshot is None:
            secret = (key_name(index), secret_file(drive.key, stack))
            source = replace(source, secrets=(*source.secrets, secret))
        yield replace(drive, source=source)


def _text_source(text: str, stack: ExitStack) -> DiskSource:
    descriptor = os.memfd_create("descriptor")
    stack.callback(os.close, descriptor)
    os.write(descriptor, text.encode())
    return DiskSource({"driver": "file", "filename": f"/proc/self/fd/{descriptor}", "locking": "off"}, (descriptor,))


async def _snapshot_source(
    drive: CheckedDrive, path: Path, snapshot: str, index: int, stack: ExitStack
) -> tuple[CheckedDrive, DiskSource]:
    """Have qemu-nbd export a snapshot, which a machine's own qemu cannot open; return the drive as a raw disk."""
    driver = "host_device" if drive.is_block_device else "file"
    image = image_node(drive.format, {"driver": driver, "filename": str(path), "locking": "off"})
    if drive.may_chain:
        image.pop("backing", None)
    image |= {"read-only": True, "force-share": True}
    argv = ["--read-only", "--persistent", "--shared=4", f"--load-snapshot={snapshot}"]
    inherited: list[int] = []
    if drive.key is not None:
        key = secret_file(drive.key, stack)
        image["encrypt"] = {"format": "luks", "key-secret": key_name(index)}
        argv += ["--object", secret_object(key_name(index), key)]
        inherited.append(key)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        place = bind_nameless(listener)
        stack.callback(os.close, place)
        output, messages = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, output)
        try:
            words = [*_ACTIVATED, str(os.getpid()), _SERVER, *argv, image_name(image)]
            server = QemuProcess(words, inherited, messages, stdin_fd=listener.fileno())
        finally:
            os.close(messages)
    stack.callback(server.close)
    node = {"driver": "nbd", "server": {"type": "unix", "path": f"/proc/self/fd/{place}"}}
    argv = ["qemu-img", "info", "--output=json", image_name(node)]
    try:
        info = json.loads(await run_program(argv, timeout_s=_ANSWER_S, inherited_fds=[place]))
    except ProgramFailed as exc:
        raise DriveError(f"{path}: the snapshot {snapshot} cannot be opened: {_last_words(output, str(exc))}") from exc
    shown = replace(drive, format="raw", size_bytes=int(info["virtual-size"]), files=(), key=None)
    return check_size(shown), DiskSource(node, (place,))


def _last_words(output: int, otherwise: str) -> str:
    """Return the last line that the server complained of."""
    os.set_blocking(output, False)
    try:
        lines = os.read(output, 4096).decode("utf-8", "replace").split("\n")
    except BlockingIOError:
        lines = []
    return next((line.rpartition("}': ")[2] for line in reversed(lines) if line.strip()), otherwise)
