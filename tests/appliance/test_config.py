from pathlib import Path

import pytest

from appliance.config import (
    LUKS2_MEMORY_MIB,
    MEMORY_MIB,
    Accelerator,
    ApplianceConfig,
    Drive,
    config_from_environment,
)
from rpc.errors import UsageError


def test_empty_environment_gives_the_defaults() -> None:
    config = config_from_environment((), verbose=False, environment={})
    assert (config.ram_mib, config.accelerator, config.qemu) == (MEMORY_MIB, "auto", "qemu-system-x86_64")


def test_variables_of_libguestfs_are_honoured() -> None:
    environment = {
        "LIBGUESTFS_MEMSIZE": "1024",
        "LIBGUESTFS_APPEND": "debug",
        "LIBGUESTFS_HV": "/opt/qemu",
        "LIBGUESTFS_TMPDIR": "/scratch",
    }
    config = config_from_environment((), verbose=True, environment=environment)
    assert (config.ram_mib, config.append, config.qemu) == (1024, "debug", "/opt/qemu")
    assert (config.temporary, config.verbose) == (Path("/scratch"), True)


def test_encrypted_disks_get_more_memory_unless_the_user_says_how_much() -> None:
    assert ApplianceConfig(drives=(), encrypted=True).ram_mib == LUKS2_MEMORY_MIB > 1024 + MEMORY_MIB // 2
    assert ApplianceConfig(drives=(), encrypted=True, memory_mib=300).ram_mib == 300


@pytest.mark.parametrize(("there", "given"), [(1, 1), (2, 2), (64, 2)])
def test_guest_that_is_written_to_gets_two_processors_if_the_host_has_them(
    there: int, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(there)))
    read, written = Drive(path=Path("a")), Drive(path=Path("b"), writable=True)
    assert ApplianceConfig(drives=(read,)).cpus == 1
    assert ApplianceConfig(drives=(read, written)).cpus == given
    assert ApplianceConfig(drives=(written,), smp=3).cpus == 3


@pytest.mark.parametrize(
    ("settings", "accelerator"), [("force_tcg", "tcg"), ("gdb:force_kvm", "kvm"), ("gdb", "auto"), ("", "auto")]
)
def test_backend_settings_choose_the_accelerator(settings: str, accelerator: Accelerator) -> None:
    config = config_from_environment((), verbose=False, environment={"LIBGUESTFS_BACKEND_SETTINGS": settings})
    assert config.accelerator == accelerator


@pytest.mark.parametrize(("value", "template"), [("", True), ("1", True), ("0", False)])
def test_template_can_be_forbidden(value: str, template: bool) -> None:
    config = config_from_environment((), verbose=False, environment={"GUESTMOUNT_PY_TEMPLATE": value})
    assert config.template is template


def test_other_word_about_the_template_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="GUESTMOUNT_PY_TEMPLATE=no: give 1, or 0"):
        config_from_environment((), verbose=False, environment={"GUESTMOUNT_PY_TEMPLATE": "no"})


@pytest.mark.parametrize("memory", ["", "lots", "-512", "255", "1.5"])
def test_bad_memory_size_is_a_usage_error(memory: str) -> None:
    with pytest.raises(UsageError, match="at least 256"):
        config_from_environment((), verbose=False, environment={"LIBGUESTFS_MEMSIZE": memory})
