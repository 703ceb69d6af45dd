"""Each format of an image is the disk that was put in it."""

import hashlib
from pathlib import Path

import pytest

from guestmount_py.sync import SyncGuest
from tests.formats.images import GIVEN, GUESSED, KEY, SNAPSHOT, encrypted, make_disk, with_snapshot
from tests.guests.results import Note

pytestmark = pytest.mark.appliance


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_disk(tmp_path_factory.mktemp("disk"))


def test_every_format_is_the_same_disk(disk: Path, tmp_path: Path, note: Note, appliance_files: object) -> None:
    """One machine has them all, so that whatever an image needs beside its file goes to the right one."""
    names: list[str] = []
    with SyncGuest() as guest:

        def directory() -> Path:
            place = tmp_path / str(len(names))
            place.mkdir()
            return place

        for name, make in GUESSED.items():
            guest.add_drive(make(disk, directory()))
            names.append(name)
        for name, (kind, make) in GIVEN.items():
            guest.add_drive(make(disk, directory()), format=kind)
            names.append(name)
        guest.add_drive(encrypted(disk, directory()), key=KEY)
        names.append("qcow2 encrypted")
        guest.add_drive(with_snapshot(disk, directory()), snapshot=SNAPSHOT)
        names.append("qcow2 snapshot")
        guest.launch()
        devices = guest.list_devices()
        sums = {name: guest.checksum_device("md5", device) for name, device in zip(names, devices, strict=True)}
    assert sums == dict.fromkeys(names, hashlib.md5(disk.read_bytes()).hexdigest())
    said = {name: f"--format={kind}" for name, (kind, _) in GIVEN.items()}
    said |= {"qcow2 encrypted": "--key", "qcow2 snapshot": "--snapshot"}
    for name in names:
        note("formats", name, said=said.get(name, ""))
