"""Windows by its registry: hives that hivex wrote; test_hive.py has those that it did not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.guest_view import GuestView
from daemon.hive import Hive, number_of, text_of
from daemon.session import Session
from daemon.sysroot import Sysroot
from daemon.systems import Looked, system_of
from daemon.unknown_system import UNKNOWN
from daemon.windows import Place
from tests.guests.systems import PE, empty_hive, write_hive, write_tree

MANY = "".join(f'[\\Many\\Key {number}]\n"Number"=dword:{number:08x}\n\n' for number in range(1500))
SOFTWARE = r"""Windows Registry Editor Version 5.00

[\Microsoft]

[\Microsoft\Windows NT]

[\Microsoft\Windows NT\CurrentVersion]
"ProductName"="Windows 7 Ultimate"
"CurrentVersion"="6.1"
"CurrentBuildNumber"="7601"
"InstallationType"="Client"
"Large"=hex:{large}

[\Many]

{many}"""
SYSTEM = r"""Windows Registry Editor Version 5.00

[\Select]
"Current"=dword:00000002

[\ControlSet002]

[\ControlSet002\Control]

[\ControlSet002\Control\ComputerName]

[\ControlSet002\Control\ComputerName\ComputerName]
"ComputerName"="OLD-PC"

[\MountedDevices]
"\\DosDevices\\C:"=hex:78,56,34,12,00,00,10,00,00,00,00,00
"\\DosDevices\\E:"=hex:44,4d,49,4f,3a,49,44,3a,67,45,8b,6b,7b,32,c6,43,a3,c9,8f,0a,0e,2f,00,01
"\\DosDevices\\A:"=hex:5c,00,3f
"""


@pytest.fixture(scope="module")
def hives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hives")
    large = ",".join(["61"] * 5000)
    write_hive(directory / "software", SOFTWARE.format(large=large, many=MANY))
    write_hive(directory / "system", SYSTEM)
    return directory


@contextmanager
def opened(path: Path) -> Iterator[Hive]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Hive(descriptor)
    finally:
        os.close(descriptor)


def looked(root: Path) -> Looked:
    found = system_of(GuestView(Session(Sysroot(bytes(root), is_plain_directory=True))))
    assert found is not None
    return found


def test_values_of_a_key(hives: Path) -> None:
    with opened(hives / "software") as hive:
        values = hive.values(hive.key("MICROSOFT", "windows nt", "CurrentVersion"))
        assert text_of(values["ProductName"]) == "Windows 7 Ultimate"
        assert text_of(values.get("Nothing")) == ""
        assert number_of(values["ProductName"]) is None
        assert values["Large"].data == b"a" * 1024
        assert hive.values(hive.key("Microsoft", "Nothing", "More")) == {}


def test_every_one_of_many_keys_is_found(hives: Path) -> None:
    for number in range(1500):
        with opened(hives / "software") as hive:
            values = hive.values(hive.key("Many", f"KEY {number}"))
            assert number_of(values["Number"]) == number


@pytest.mark.parametrize("spelling", ["Windows/System32/config", "WINNT/system32/CONFIG"])
def test_windows_is_told_by_its_hives(tmp_path: Path, hives: Path, spelling: str) -> None:
    write_tree(tmp_path, {f"{spelling}/Software": (hives / "software").read_bytes()})
    write_tree(tmp_path, {f"{spelling}/SYSTEM": (hives / "system").read_bytes()})
    write_tree(tmp_path, {f"{Path(spelling).parent}/cmd.exe": PE})
    system, places = looked(tmp_path)
    assert (system.kind, system.distro, system.product_name) == ("windows", "windows", "Windows 7 Ultimate")
    assert (system.major_version, system.minor_version, system.build_id) == (6, 1, "7601")
    assert (system.product_variant, system.arch, system.hostname) == ("Client", "x86_64", "OLD-PC")
    assert (system.systemroot, system.control_set) == (f"/{spelling.split('/')[0]}", "ControlSet002")
    assert (system.software_hive, system.system_hive) == (f"/{spelling}/Software", f"/{spelling}/SYSTEM")
    assert places == {
        "C": Place("", "12345678", 1 << 20),
        "E": Place("6b8b4567-327b-43c6-a3c9-8f0a0e2f0001", "", 0),
    }


def test_windows_with_damaged_hives_is_windows(tmp_path: Path) -> None:
    config = "Windows/System32/config"
    write_tree(tmp_path, {f"{config}/SOFTWARE": b"regf" + bytes(100), f"{config}/SYSTEM": empty_hive()})
    system, places = looked(tmp_path)
    assert (system.kind, system.product_name, system.hostname, places) == ("windows", UNKNOWN, UNKNOWN, {})
