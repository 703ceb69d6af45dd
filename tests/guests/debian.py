"""A real Debian tree, debootstrapped once; needs root."""

import platform
import shutil
from pathlib import Path
from typing import Final

from tests.guests.cache import cached, run

# Beyond minbase: a file with a capability (ping), many symlinks (ca-certificates), a real daemon's odd modes.
PACKAGES: Final = ("ca-certificates", "iputils-ping", "openssh-client", "rsync")


def debian_tree() -> Path:
    """Return a minimal Debian system as a directory, about 250 MB; read-only, copy it with ``cp -a``."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    return cached("debian", f"{release} {PACKAGES}", lambda directory: _bootstrap(directory, release))


def _bootstrap(directory: Path, release: str) -> None:
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, directory, _mirror())
    for downloaded in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(directory / downloaded)


def _mirror() -> str:
    """Ask apt which mirror this machine uses; debootstrap would go to its own default."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian")
    return targets.splitlines()[0]
