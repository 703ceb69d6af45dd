"""An image's layers: itself, its backing file, that one's backing file, and so on."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from appliance.drives import CheckedDrive
from appliance.process import ProgramFailed, run_program
from appliance.qcow2 import read_header
from rpc.errors import DriveError

_INFO_S: Final = 60.0
_LAYERS_MAX: Final = 64


class Layer(NamedTuple):
    """One file of a chain.

    Attributes:
        format: as the layer above says it, or the user for the topmost; never guessed here.
    """

    path: Path
    format: str


async def image_chain(drive: CheckedDrive) -> list[Layer]:
    """Return the layers of a drive, topmost first, if each is a file or block device whose bytes lie in it as they are.

    Raises:
        DriveError: one is of another format than raw and qcow2, is encrypted, keeps its data in another file, or is no
            plain file.
    """
    if not isinstance(drive.path, Path) or drive.needs_source:
        raise DriveError(f"{drive.path}: more than its file is needed to read it")
    layers = [Layer(drive.path, drive.format)]
    if drive.format == "qcow2" and drive.may_chain:
        layers += [_layer(each) for each in (await _chain_info(drive.path, drive.format))[1:]]
    if len(layers) > _LAYERS_MAX:
        raise DriveError(f"{drive.path}: has {len(layers)} layers")
    for layer in layers:
        _check_plain(layer)
    return layers


async def _chain_info(path: Path, kind: str) -> list[Any]:
    argv: list[str | Path] = ["qemu-img", "info", "-U", "--output=json", "--backing-chain", "-f", kind, path]
    try:
        chain = json.loads(await run_program(argv, timeout_s=_INFO_S))
    except (ProgramFailed, ValueError) as exc:
        raise DriveError(f"{path}: its chain cannot be read: {exc}") from exc
    if not isinstance(chain, list):
        raise DriveError(f"{path}: its chain cannot be read")
    return chain


def _layer(info: Any) -> Layer:
    name, kind = (info.get(key) for key in ("filename", "format")) if isinstance(info, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(kind, str) or not name.startswith("/"):
        raise DriveError(f"a layer is no plain file: {str(name)[:200]}")
    return Layer(Path(name), kind)


def _check_plain(layer: Layer) -> None:
    if layer.format not in ("raw", "qcow2"):
        raise DriveError(f"{layer.path}: the format {layer.format} is not read directly")
    if not layer.path.is_file() and not layer.path.is_block_device():
        raise DriveError(f"{layer.path}: is no plain file")
    if layer.format == "qcow2":
        header = read_header(layer.path)
        if header.has_data_file:
            raise DriveError(f"{layer.path}: keeps its data in another file")
        if header.is_encrypted:
            raise DriveError(f"{layer.path}: is encrypted")


def chain_node(layers: list[Layer]) -> dict[str, Any]:
    """Return how to open a chain so that no layer's word about another counts, as qemu's ``json:`` names have it."""
    top, *below = layers
    driver = "host_device" if top.path.is_block_device() else "file"
    node: dict[str, Any] = {"driver": top.format, "file": {"driver": driver, "filename": str(top.path)}}
    if top.format == "qcow2":
        node["backing"] = chain_node(below) if below else None
    elif below:
        raise DriveError(f"{top.path}: a raw layer has no backing file")
    return node
