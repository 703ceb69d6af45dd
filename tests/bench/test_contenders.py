from pathlib import Path

from bench.contenders import CONTENDERS, OURS, THEIRS
from bench.image import Workload
from tests.guests.disk import Partition

WORKLOAD = Workload(Path("/w/disk.img"), Path("/w/disk.qcow2"), Partition(1 << 20, 1 << 30))


def test_both_programs_are_measured_mounting_as_one_would_type_it() -> None:
    named = {contender.name: contender for contender in CONTENDERS}
    typed = ("-a", Path("/w/disk.qcow2"), "-m", "/dev/sda1", "--ro", Path("/mnt"))
    for name in (OURS, THEIRS):
        command = named[name].for_mounting.mount(WORKLOAD, Path("/mnt"))
        assert command[-len(typed) :] == typed
        assert not any("--format" in str(word) for word in command)


def test_both_programs_are_measured_inspecting() -> None:
    for contender in CONTENDERS:
        inspect = contender.mount_inspected
        assert (inspect is not None) == (contender.name in (OURS, THEIRS))
        if inspect is not None:
            assert inspect(WORKLOAD, Path("/mnt"))[-5:] == ("-a", WORKLOAD.qcow2, "-i", "--ro", Path("/mnt"))


def test_those_that_read_only_raw_images_mount_what_they_can() -> None:
    for contender in CONTENDERS:
        if contender.name not in (OURS, THEIRS):
            assert contender.for_mounting.mount == contender.mount
            assert WORKLOAD.image in contender.for_mounting.mount(WORKLOAD, Path("/mnt"))


def test_all_mount_for_writing_where_that_is_measured() -> None:
    for contender in CONTENDERS:
        words = [str(word) for word in contender.writing.mount(WORKLOAD, Path("/mnt"))]
        options = ",".join(words).split(",")
        assert {"rw", "--rw"} & set(options)
        assert not {"ro", "--ro"} & set(options)
