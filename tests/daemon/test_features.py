"""Optional groups of calls: what is said of them is true."""

import pytest

from daemon.features import available_all_groups, internal_feature_available, members, programs
from daemon.index import NUMBERS
from daemon.session import Session
from daemon.sysroot import Sysroot
from rpc.arguments import NoArgs
from rpc.procedures import AVAILABLE_ALL_GROUPS, INTERNAL_FEATURE_AVAILABLE
from rpc.procedures.control import InternalFeatureAvailableArgs
from tests.daemon.scratch import Scratch

AVAILABLE = {
    *(
        "blkdiscard",
        "blkdiscardzeroes",
        "btrfs",
        "fstrim",
        "gdisk",
        "hivex",
        "linuxmodules",
        "linuxxattrs",
        "luks",
        "lvm2",
    ),
    *("lvm2", "mdadm", "mknod", "ntfs3g", "ntfsprogs", "realpath", "wipefs", "xfs", "xz"),
}
"""The rest waits for handlers or programs."""


def test_group_is_available_only_if_every_call_of_it_has_a_handler() -> None:
    session = Session(Sysroot(b"/", is_plain_directory=True))
    known = {number for numbers in NUMBERS.values() for number in numbers}
    groups = available_all_groups(session, NoArgs())
    assert len(groups) == 38
    assert set(groups) > AVAILABLE
    for group in groups:
        assert set(members(group)), group
        if not known.issuperset(members(group)):
            assert internal_feature_available(session, InternalFeatureAvailableArgs(group)) == 1
            assert group not in AVAILABLE
    assert list(members("mdadm")) == [299, 301, 302, 316]
    assert programs("btrfs") == ["btrfs", "btrfstune"]


@pytest.mark.appliance
def test_appliance_has_the_programs_of_its_groups(storage: Scratch) -> None:
    groups = storage.call(AVAILABLE_ALL_GROUPS, NoArgs())
    answers = {group: storage.call(INTERNAL_FEATURE_AVAILABLE, InternalFeatureAvailableArgs(group)) for group in groups}
    assert {group for group, answer in answers.items() if answer == 0} == AVAILABLE
    assert set(answers.values()) == {0, 1}
    assert storage.call(INTERNAL_FEATURE_AVAILABLE, InternalFeatureAvailableArgs("nosuch")) == 2
