"""Build an appliance, or say where it is.

python -m appliance build DIR      write a fixed appliance: kernel, initrd, root, README.fixed
python -m appliance locate         name the directory of the appliance that would be used, built first if need be
python -m appliance template       boot that appliance and save it, so that the next launch is quick; say where
"""

import sys
from pathlib import Path

import trio

from appliance.build import build_fixed
from appliance.config import config_from_environment
from appliance.launch import prepare_template
from appliance.locate import find_appliance
from rpc.errors import GuestmountError


def _log(text: str) -> None:
    sys.stderr.write(f"appliance: {text}\n")


async def _run(arguments: list[str]) -> int:
    match arguments:
        case ["build", directory]:
            await build_fixed(Path(directory), _log)
        case ["locate"]:
            sys.stdout.write(f"{(await find_appliance(_log)).root.parent}\n")
        case ["template"]:
            sys.stdout.write(f"{await prepare_template(config_from_environment((), verbose=False), _log)}\n")
        case ["--help" | "-h"]:
            sys.stdout.write(f"{__doc__}")
        case _:
            sys.stderr.write(f"{__doc__}")
            return 2
    return 0


def main() -> int:
    """Run the command line; return the exit status."""
    try:
        return trio.run(_run, sys.argv[1:])
    except GuestmountError as exc:
        _log(str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        _log("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
