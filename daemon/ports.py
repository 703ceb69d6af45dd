"""The appliance's channels: virtio-serial ports by name."""

import os
from typing import Final

from rpc import constants

_SYS_PORTS: Final = "/sys/class/virtio-ports"


def find_ports() -> tuple[str, list[str]]:
    """Return the device of the first channel and those of the extra ones, in order.

    Raises:
        FileNotFoundError: the virtual machine has no port named as a first channel.
    """
    names = {}
    for entry in os.listdir(_SYS_PORTS):
        with open(f"{_SYS_PORTS}/{entry}/name", encoding="ascii") as file:
            names[file.read().strip()] = f"/dev/{entry}"
    first = names.pop(constants.CHANNEL_NAME, None)
    if first is None:
        raise FileNotFoundError(2, os.strerror(2), constants.CHANNEL_NAME)
    extra = sorted(name for name in names if name.startswith(constants.EXTRA_CHANNEL_PREFIX))
    return first, [names[name] for name in extra]
