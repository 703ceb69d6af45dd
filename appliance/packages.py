"""Distribution packages: downloaded by apt as an ordinary user and unpacked, never installed."""

import fnmatch
import os
import platform
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from appliance.process import ProgramFailed, run_program
from rpc.errors import ImageError

_REPORT_S: Final = 5.0
PACKAGES_FILE: Final = Path(__file__).with_name("packages.toml")
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PackageList:
    """What to download: packages with all their dependencies, but for those ``leave_out`` matches."""

    distribution: str
    packages: tuple[str, ...]
    leave_out: tuple[str, ...]


def package_list() -> PackageList:
    """Return what the host's distribution provides for the appliance.

    Raises:
        ImageError: the distribution or machine is not known.
    """
    release = platform.freedesktop_os_release()
    known = tomllib.loads(PACKAGES_FILE.read_text())
    distribution = f"{release.get('ID', 'unknown')}-{release.get('VERSION_ID', 'unknown')}"
    if distribution not in known or platform.machine() != "x86_64":
        raise ImageError(
            f"cannot build an appliance on {distribution} {platform.machine()}, only on x86_64 {', '.join(known)}: "
            "build one there with 'python -m appliance build DIR' and set LIBGUESTFS_PATH=DIR"
        )
    rows = known[distribution]
    return PackageList(distribution, tuple(rows["packages"]), tuple(rows["leave_out"]))


class PackageCache:
    """A private apt state below one directory: no root, no lock of the system's, downloads resume."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._directory = directory
        self._log = log

    async def download(self, names: Sequence[str]) -> list[Path]:
        """Download packages and all they depend on; return the .deb files, checked by apt.

        Raises:
            ImageError: apt failed.
        """
        for name in ("lists/partial", "archives/partial", "state"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        (self._directory / "status").touch()
        try:
            self._log("reading the distribution's package lists")
            await self._apt("update")
            missing = _sizes_bytes(await self._apt("install", "--yes", "--print-uris", *names))
            if missing:
                self._log(f"downloading {len(missing)} packages, {sum(missing) / 1e6:.0f} MB")
                await self._fetch(names, sum(missing))
        except ProgramFailed as exc:
            errors = [line for line in exc.messages.splitlines() if line.startswith("E: ")]
            reason = f"apt-get: {errors[0]}" if errors else str(exc)
            raise ImageError(f"cannot download the appliance's packages: {reason}") from exc
        return sorted((self._directory / "archives").glob("*.deb"))

    async def _fetch(self, names: Sequence[str], missing_bytes: int) -> None:
        """Download, and say how far it is every few seconds; apt resumes what was broken off."""
        archives = self._directory / "archives"

        def present_bytes() -> int:
            return sum(path.stat().st_size for path in archives.rglob("*.deb*"))

        async def report() -> None:
            before_bytes = present_bytes()
            while True:
                await trio.sleep(_REPORT_S)
                with suppress(FileNotFoundError):  # apt has just renamed it
                    self._log(f"{(present_bytes() - before_bytes) / 1e6:.0f} of {missing_bytes / 1e6:.0f} MB")

        failure: ProgramFailed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report)
            try:
                await self._apt("install", "--yes", "--download-only", *names)
            except ProgramFailed as exc:
                failure = exc
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _apt(self, *arguments: str) -> str:
        here = self._directory
        settings = {
            "Dir::State": here / "state",
            "Dir::State::lists": here / "lists",
            "Dir::State::status": here / "status",
            "Dir::Cache": here,
            "Dir::Cache::archives": here / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": here,
            "Debug::NoLocking": "true",
            "APT::Install-Recommends": "false",
            "APT::Get::AllowUnauthenticated": "false",
            "APT::Update::Error-Mode": "any",
            "APT::Sandbox::User": os.environ.get("USER", "root"),
            "Dpkg::Use-Pty": "false",
            "quiet": "2",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return await run_program(["apt-get", *options, *arguments], timeout_s=3600)


def _sizes_bytes(listing: str) -> list[int]:
    """Return the sizes in what ``apt-get --print-uris`` says, one line for each file: 'URI' NAME SIZE HASH."""
    return [int(line.split()[2]) for line in listing.splitlines() if line.startswith("'")]


def wanted(archives: Sequence[Path], leave_out: Sequence[str]) -> list[Path]:
    """Return the archives whose package is not left out."""
    return [path for path in archives if not any(fnmatch.fnmatch(path.name.split("_")[0], each) for each in leave_out)]


async def unpack(archive: Path, directory: Path) -> None:
    """Unpack a package's files.

    Raises:
        ImageError: it is damaged, or there is no space.
    """
    try:
        await run_program(["dpkg-deb", "--extract", archive, directory])
    except ProgramFailed as exc:
        raise ImageError(f"cannot unpack {archive.name} into {directory}: {exc}") from exc
