"""Keys: how they are given, whose they are, and that nobody else sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

from guestmount_py.cli import parse
from guestmount_py.keys import Keys, KeySelector, without_secrets
from guestmount_py.unlocking import Encrypted
from rpc.errors import GuestmountError, UsageError

_UUID = "0b8ad8ae-8b1c-4d4c-bd1e-4f2b1d9a7d6e"
_SECRET = "a secret: é"


def _nobody(_prompt: str) -> str:
    raise GuestmountError("nobody answers")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("all:key:a:b", "all:key:***"),
        ("--key=/dev/sda:key:x@y", "--key=/dev/sda:key:***"),
        ("http://me:word@host/a", "http://me:****@host/a"),
        ("HTTP://me:p@ss@host/a", "HTTP://me:****@host/a"),
        ("https://me:word@host/a?token=t", "https://me:****@host/a?*******"),
        ("nbd+unix:///x?socket=/a", "nbd+unix:///x?socket=/a"),
        ("ssh://host:22/me:a@b", "ssh://host:22/me:a@b"),
        ("/path/with:colon@sign", "/path/with:colon@sign"),
    ],
)
def test_what_ps_shows(word: str, shown: str) -> None:
    assert without_secrets(word.encode()) == shown.encode()


def test_key_is_what_stands_behind_the_second_colon() -> None:
    assert KeySelector.parse(f"/dev/sda2:key:{_SECRET}") == KeySelector("/dev/sda2", _SECRET)


def test_key_of_a_file_is_all_of_it_but_the_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "a:key"
    file.write_text("one\ntwo\n\n")
    assert KeySelector.parse(f"all:file:{file}") == KeySelector("all", "one\ntwo\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_SECRET, "give NAME:file:FILE"),
        (f":key:{_SECRET}", "give NAME:file:FILE"),
        (f"all:kee:{_SECRET}", "give NAME:file:FILE"),
        ("all:key:", "empty"),
        ("all:clevis", "Clevis"),
        ("all:file:/nowhere", "No such file"),
        ("all:file:/", "Is a directory"),
        ("all:file:/dev/null", "empty"),
        ("all:file:/dev/zero", "not a key"),
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        KeySelector.parse(text)
    assert _SECRET not in str(caught.value)


def test_binary_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\0\1")
    with pytest.raises(UsageError, match="NUL"):
        KeySelector.parse(f"all:file:{file}")


def test_key_is_for_a_device_by_any_of_its_names() -> None:
    encrypted = Encrypted("/dev/my-vg/lv", _UUID)
    assert encrypted.opened == f"/dev/mapper/luks-{_UUID}"
    for name in ("/dev/my-vg/lv", "/dev/mapper/my--vg-lv", _UUID, _UUID.upper(), "all"):
        assert Keys([KeySelector(name, "k")], _nobody, 1).of(encrypted.names) == ["k"]
    assert Keys([KeySelector("/dev/sda", "k"), KeySelector("", "k")], _nobody, 1).of(encrypted.names) == []


def test_device_without_uuid_is_opened_under_its_own_name() -> None:
    encrypted = Encrypted("/dev/sda2", "")
    assert encrypted.opened == "/dev/mapper/cryptsda2"
    assert not KeySelector("", "k").fits(encrypted.names)


def test_key_is_not_shown_with_the_configuration() -> None:
    config = parse(["-a", "a", "--key", f"all:key:{_SECRET}", "-m", "/dev/sda", "mnt"])
    assert config.keys[0].key == _SECRET
    assert _SECRET not in repr(config)


def test_key_is_not_in_the_process_list() -> None:
    code = (
        "import sys; from pathlib import Path; from guestmount_py import keys; keys.hide_keys();"
        "print(Path('/proc/self/cmdline').read_bytes()); print(sys.argv[1:])"
    )
    words = ["--key", f"/dev/sda:key:{_SECRET}", f"--key=all:key:{_SECRET}", "-a", "an image"]
    words += ["-a", "http://me:password@host/a:b@c", "-aiscsi://me:p@[::1]:7/x", "ssh://me@host:22/a"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    seen, given = done.stdout.splitlines()
    hidden = b"*" * len(_SECRET.encode())
    shown = (b"http://me:********@host/a:b@c", b"-aiscsi://me:*@[::1]:7/x", b"ssh://me@host:22/a")
    for word in (b"/dev/sda:key:" + hidden, b"--key=all:key:" + hidden, b"-a", b"an image", *shown):
        assert word.decode() in seen
    assert "a secret" not in seen
    assert given == repr(words)
