"""What ``guestmount-py list`` tells of partitions, arrays and encryption is what sfdisk, mdadm and cryptsetup tell."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.guests.cache import run
from tests.guests.disk import SECTOR_BYTES
from tests.guests.stacks import STACKS, stacked_disks
from tests.guests.systems import apart_disk
from tests.system.sandbox import GUESTMOUNT, SLOW, Sandbox

pytestmark = [pytest.mark.appliance, pytest.mark.root]


def images_of(*stacks: str) -> list[Path]:
    """Return the images that some of the stacks are on, one after another."""
    return [image for name in stacks for image in stacked_disks() if image.stem.rpartition("-")[0] == name]


def listed(sandbox: Sandbox, *images: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what ``list --json`` tells of raw images."""
    words = [word for image in images for word in ("-a", str(image))]
    found = subprocess.run(
        [*GUESTMOUNT, "list", "--json", "--format=raw", *words],
        env=sandbox.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert SLOW.sub("", found.stderr) == ""
    things: dict[str, list[dict[str, Any]]] = json.loads(found.stdout)
    return things


def test_partitions_are_those_that_sfdisk_tells(sandbox: Sandbox) -> None:
    images = [*images_of("linear", "logical"), apart_disk()]
    with_table = {"/dev/sda": images[0], "/dev/sdc": images[2], "/dev/sdd": images[3]}
    tables = {name: json.loads(run("sfdisk", "--json", image))["partitiontable"] for name, image in with_table.items()}
    found = listed(sandbox, *images)
    assert {disk["name"]: disk["type"] for disk in found["disks"]} == {
        "/dev/sda": "gpt",
        "/dev/sdb": None,
        "/dev/sdc": "dos",
        "/dev/sdd": tables["/dev/sdd"]["label"],
    }
    assert {
        each["name"]: (each["parents"], each["start_bytes"], each["part_type"], each["uuid"])
        for each in found["partitions"]
    } == {
        name + each["node"].rpartition(".img")[2]: (
            [name],
            each["start"] * SECTOR_BYTES,
            f"0x{each['type']}" if table["label"] == "dos" else each["type"].lower(),
            each["uuid"].lower() if "uuid" in each else f"{table['id'][2:]}-{each['node'].rpartition('.img')[2]:0>2}",
        )
        for name, table in tables.items()
        for each in table["partitions"]
    }


def test_arrays_are_those_that_mdadm_tells(sandbox: Sandbox) -> None:
    levels = [stack.name for stack in STACKS if stack.name.startswith("raid")]
    wanted, members = {}, iter(f"/dev/sd{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    for level in levels:
        images = images_of(level)
        examined = dict(line.split("=", 1) for line in run("mdadm", "--examine", "--export", images[0]).splitlines())
        wanted[examined["MD_UUID"]] = (examined["MD_LEVEL"], [next(members) for _ in images])
        assert examined["MD_LEVEL"] == level
    arrays = listed(sandbox, *images_of(*levels))["arrays"]
    assert {each["uuid"]: (each["type"], each["parents"]) for each in arrays} == wanted


def test_encrypted_devices_are_those_that_cryptsetup_tells(sandbox: Sandbox) -> None:
    found = listed(sandbox, *images_of("luks1", "luks2", "luks-on-lvm"))
    uuids = [run("cryptsetup", "luksUUID", image).strip() for image in images_of("luks1", "luks2")]
    devices = {each["name"]: (each["type"], each["uuid"]) for each in found["encrypted_devices"]}
    (on_volume,) = {device: told for device, told in devices.items() if not device.startswith("/dev/sd")}.items()
    assert devices.items() - {on_volume} == {
        ("/dev/sda", ("crypto_LUKS", uuids[0])),
        ("/dev/sdb", ("crypto_LUKS", uuids[1])),
    }
    assert (on_volume[0], on_volume[1][0]) == ("/dev/outside/lv", "crypto_LUKS")
    assert found["filesystems"] == []
