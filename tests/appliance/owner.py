"""Launch an appliance, print qemu's process id, and stay until killed.

python -m tests.appliance.owner KERNEL INITRD ROOT IMAGE
"""

import sys
from pathlib import Path

import trio

from appliance.config import ApplianceFiles, Drive, config_from_environment
from appliance.launch import launch


async def own(*paths: Path) -> None:
    """Own an appliance for ever."""
    kernel, initrd, root, image = paths
    files = ApplianceFiles(kernel=kernel, initrd=initrd, root=root, resumable=True)
    config = config_from_environment((Drive(path=image),), verbose=False)
    async with launch(config, files, log=lambda _text: None, console=lambda _data: None) as appliance:
        sys.stdout.write(f"{appliance.pid}\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(own, *map(Path, sys.argv[1:]))
