"""A real appliance with empty disks, launched once for many tests, and a blocking client of it."""

import queue
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import trio

from appliance.config import ApplianceFiles, Drive, config_from_environment
from appliance.launch import launch
from appliance.running import Appliance
from rpc.arguments import NoArgs
from rpc.errors import ProcedureError
from rpc.procedure import Procedure
from rpc.procedures import UMOUNT_ALL

ArgsT = TypeVar("ArgsT")
RetT = TypeVar("RetT")
WAIT_S: Final = 300


class Scratch:
    """One appliance.

    Attributes:
        console: what it has written there, every call included, for its daemon is verbose.
    """

    def __init__(self, appliance: Appliance, token: trio.lowlevel.TrioToken, console: bytearray) -> None:
        self._appliance = appliance
        self._token = token
        self.console = console

    def call(self, procedure: Procedure[ArgsT, RetT], args: ArgsT, *, channel: int = 0) -> RetT:
        """Make a call on one of the channels, each of which is a process of its own."""
        made: RetT = trio.from_thread.run(self._call, channel, procedure, args, trio_token=self._token)
        return made

    def table(self, procedure: Procedure[ArgsT, list[tuple[str, str]]], args: ArgsT) -> dict[str, str]:
        """Make a call that answers with keys and values."""
        pairs = self.call(procedure, args)
        return dict(pairs)

    async def _call(self, channel: int, procedure: Procedure[Any, RetT], args: Any) -> RetT:
        with trio.fail_after(WAIT_S):
            return await self._appliance.channels[channel].call(procedure, args)

    def refused(self, procedure: Procedure[Any, Any], args: Any) -> tuple[str, str]:
        """Return errno name and message of a call that must fail."""
        with pytest.raises(ProcedureError) as caught:
            self.call(procedure, args)
        return caught.value.errno_name, caught.value.message

    def save(self, procedure: Procedure[ArgsT, None], args: ArgsT, path: Path) -> None:
        """Write what a download brings into a file."""
        trio.from_thread.run(self._save, procedure, args, path, trio_token=self._token)

    async def _save(self, procedure: Procedure[Any, None], args: Any, path: Path) -> None:
        with trio.fail_after(WAIT_S), path.open("wb") as file:
            async with self._appliance.channels[0].download(procedure, args) as pieces:
                async for piece in pieces:
                    file.write(piece)

    def load(self, procedure: Procedure[ArgsT, None], args: ArgsT, data: bytes) -> None:
        """Upload data."""
        trio.from_thread.run(self._load, procedure, args, data, trio_token=self._token)

    async def _load(self, procedure: Procedure[Any, None], args: Any, data: bytes) -> None:
        async def source() -> AsyncGenerator[bytes, None]:
            yield data

        with trio.fail_after(WAIT_S):
            async with aclosing(source()) as pieces:
                await self._appliance.channels[0].upload(procedure, args, pieces)


@contextmanager
def scratch_appliance(files: ApplianceFiles, images: Sequence[Path]) -> Iterator[Scratch]:
    """Launch an appliance, in a thread of its own, for as long as the block runs."""
    drives = tuple(Drive(path=path, format="raw") for path in images)
    config = config_from_environment(drives, verbose=True)
    answers: queue.SimpleQueue[Scratch | BaseException] = queue.SimpleQueue()
    console = bytearray()
    stop: list[trio.Event] = []

    async def serve() -> None:
        stop.append(trio.Event())
        async with launch(config, files, log=print, console=console.extend) as appliance:
            answers.put(Scratch(appliance, trio.lowlevel.current_trio_token(), console))
            await stop[0].wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as exc:
            answers.put(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        try:
            yield answer
        finally:
            trio.from_thread.run_sync(stop[0].set, trio_token=answer._token)
    finally:
        thread.join()


def empty_images(directory: Path, sizes_mib: Sequence[int]) -> list[Path]:
    """Make sparse images."""
    paths = []
    for index, size_mib in enumerate(sizes_mib):
        path = directory / f"disk{index}.img"
        with path.open("wb") as file:
            file.truncate(size_mib << 20)
        paths.append(path)
    return paths


SIZES_MIB: Final = (100, 400, 64, 64, 64, 32, 32, 300, 300)
"""sda partitions; sdb filesystems; sdc and sdd LVM; sde LUKS; sdf and sdg arrays; sdh and sdi btrfs."""


@pytest.fixture(scope="session")
def scratch(appliance_files: ApplianceFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """Launch an appliance with disks of ``SIZES_MIB``."""
    images = empty_images(tmp_path_factory.mktemp("scratch"), SIZES_MIB)
    with scratch_appliance(appliance_files, images) as launched:
        yield launched


@pytest.fixture
def storage(scratch: Scratch) -> Iterator[Scratch]:
    """Lend the appliance; every test leaves its disks as they are, but nothing mounted, open or active."""
    yield scratch
    scratch.call(UMOUNT_ALL, NoArgs())
