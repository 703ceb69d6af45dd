"""What all tests share: the skips, each with its reason, and the appliance, built once."""

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
import trio

from appliance.accelerator import choose_accelerator
from appliance.config import ApplianceFiles, config_from_environment
from appliance.launch import prepare_template
from appliance.locate import find_appliance
from tests.guests import results

pytest.register_assert_rewrite("tests.system.sandbox")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell that started us in the background did that
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PROGRAMS: Final = {
    "appliance": ("qemu-system-x86_64", "qemu-img"),
    "fuse": ("fusermount3",),
    "root": (
        *("debootstrap", "losetup", "mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mkntfs", "mcopy", "setfacl", "rsync"),
        *("mkfs.exfat", "sload.f2fs", "genisoimage", "mksquashfs", "cryptsetup", "mkfs.erofs", "makefs", "mkudffs"),
        *("mkfs.jfs", "mkfs.minix", "mkfs.nilfs2", "mkfs.reiserfs", "xorriso"),
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of guests keep what they see, instead of comparing."""
    parser.addoption("--record", action="store_true", help="keep what is seen of guests in tests/guests/results.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip only what this machine cannot run; CI's can run everything."""
    missing = {marker: _missing(marker) for marker in _PROGRAMS}
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Where everything can run, which CI says of itself, a skip is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("GUESTMOUNT_NO_SKIPS"):
        report.outcome = "failed"
    return report


def _missing(marker: str) -> str | None:
    if marker == "root" and os.geteuid() != 0:
        return "not root: the references are made with loop mounts and debootstrap"
    if marker == "fuse" and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    programs = [program for program in _PROGRAMS[marker] if shutil.which(program) is None]
    return f"not installed: {', '.join(programs)}" if programs else None


@pytest.fixture(autouse=True)
def working_directory() -> Iterator[None]:
    """Go back after each test: handlers of the daemon, called in this process, change the directory."""
    directory = os.open(".", os.O_PATH)
    yield
    os.fchdir(directory)
    os.close(directory)


@pytest.fixture(scope="session")
def note(request: pytest.FixtureRequest) -> results.Note:
    """Take what a test saw of a guest."""
    return results.keep if request.config.getoption("record") else results.compare


@pytest.fixture(scope="session")
def appliance_files() -> ApplianceFiles:
    """Build the appliance, try KVM and make the templates, before any test measures time or reads messages."""

    async def prepare() -> ApplianceFiles:
        files = await find_appliance(print)
        config = config_from_environment((), verbose=False)
        await choose_accelerator(config, files, print)
        if config.template:
            for each in (config, replace(config, encrypted=True)):
                await prepare_template(each, print, files)
        return files

    return trio.run(prepare)
