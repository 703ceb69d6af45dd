"""A difference is meant only as it was written down."""

import pytest

from tests.interoperability.differences import MEANT, Difference, reason_of, split, unexplained

REFUSED = "refused: no errno"


def test_an_errno_beside_none_is_meant_for_the_calls_that_are_named() -> None:
    assert reason_of("mixture", "7 ln_s('a', '/b')", REFUSED, "refused: EEXIST")
    assert reason_of("errors", "ln_s('x', '/dir')", REFUSED, "refused: EEXIST")
    assert reason_of("mixture", "7 ln_s('a', '/b')", REFUSED, "refused: EIO") is None
    assert reason_of("mixture", "7 rename('/a', '/b')", REFUSED, "refused: EEXIST") is None


def test_only_the_flags_of_statvfs_may_differ() -> None:
    theirs = "{'blocks': 5, 'flag': 4096, 'namemax': 255}"
    ours = theirs.replace("4096", "4102")
    assert reason_of("mixture", "1 statvfs('/')", theirs, ours)
    assert reason_of("mixture", "1 statvfs('/')", theirs, ours.replace("5,", "6,")) is None


def test_only_the_case_of_a_path_may_differ() -> None:
    assert reason_of("mixture", "1 case_sensitive_path('/Dir')", "/dir", "/Dir")
    assert reason_of("mixture", "1 case_sensitive_path('/Dir')", "/dir", "/other") is None


def test_calls_must_be_the_same() -> None:
    line = "ln_s('a: b', '/c'): refused: no errno"
    assert split(line) == ("ln_s('a: b', '/c')", REFUSED)
    assert unexplained("errors", ["ln_s('a', '/c'): refused: EEXIST"], [line]) != []
    assert unexplained("errors", [line.replace("no errno", "EEXIST")], [line]) == []


EMPTY_SUM = "68 bytes, sha256 abcfa6a9d4df344d1781bc2560b5e4cdcae08b39ed303063535e7e1e926a304a"
Example = tuple[tuple[str, str, str, str], tuple[str, str, str]]
# In the order of MEANT: where, a call and both answers; then a call and answers that come near and are not meant.
EXAMPLES: list[Example] = [
    (("mixture", "1 mv('/a', '/b')", REFUSED, "refused: ENOENT"), ("1 mvx('/a', '/b')", REFUSED, "refused: ENOENT")),
    (("errors", "cat('/dir')", REFUSED, "refused: EISDIR"), ("cat('/dir')", "refused: EIO", "refused: EISDIR")),
    (("mixture", "1 setxattr('u')", REFUSED, "refused: E2BIG"), ("1 setxattr('u')", REFUSED, "refused: EPERM")),
    (
        ("errors", "part_list('/dev/sda')", REFUSED, "refused: EINVAL"),
        ("part_list('/dev/sda')", "[]", "refused: EINVAL"),
    ),
    (
        ("mixture", "1 statvfs('/')", "{'flag': 4096, }", "{'flag': 4102, }"),
        ("1 stat('/')", "'flag': 4096, ", "'flag': 4102, "),
    ),
    (
        ("mixture", "1 write('/dir/b', b'')", "refused: ENXIO", "refused: EACCES"),
        ("1 pwrite_device('/dev/sdb', b'', 0)", "refused: ENXIO", "refused: EACCES"),
    ),
    (
        ("mixture", "1 checksums_out('md5', '/')", EMPTY_SUM, "b''"),
        ("1 checksums_out('md5', '/')", EMPTY_SUM[:-1], "b''"),
    ),
    (("mixture", "1 head_n(0, '/dir')", "[]", "refused: EISDIR"), ("1 head_n(0, '/dir')", "['']", "refused: EISDIR")),
    (("mixture", "1 head('/a')", "[]", "['', 'x']"), ("1 head('/a')", "[]", "['x']")),
    (
        ("mixture", "1 case_sensitive_path('/dir/.')", REFUSED, "/dir/."),
        ("1 case_sensitive_path('/dir/a')", REFUSED, "/dir/."),
    ),
    (
        ("mixture", "1 realpath('/p')", "refused: ENOENT", "refused: ENAMETOOLONG"),
        ("1 readlink('/p')", "refused: ENOENT", "refused: ENAMETOOLONG"),
    ),
    (("mixture", "1 glob_expand('/')", "['//']", "['/']"), ("1 glob_expand('/')", "['//a']", "['/a']")),
    (("mixture", "1 case_sensitive_path('/A')", "/a", "/A"), ("1 case_sensitive_path('/A')", "/a", "/b")),
    (
        ("mixture", "1 case_sensitive_path('/A')", "/a", "refused: ENOTDIR"),
        ("1 case_sensitive_path('/A')", "/a", "refused: ENOENT"),
    ),
    (("partitions", "part_get_mbr_id(1)", "-1", "refused: EINVAL"), ("part_get_mbr_id(1)", "x", "refused: EINVAL")),
    (("mixture", "1 zero('/dev/sda')", "None", "refused: EBUSY"), ("1 zerofree('/dev/sda')", "None", "refused: EBUSY")),
    (("partitions", "part_set_name(1)", REFUSED, "None"), ("part_set_name(1)", "refused: EIO", "None")),
    (("partitions", "part_get_name(1)", "'a'", "'a name'"), ("part_get_name(1)", "'b'", "'a name'")),
    (("partitions_named", "list_9p()", REFUSED, "[]"), ("list_9p()", REFUSED, "['tag']")),
    (
        ("inspection", "inspect_get_product_name('/dev/sda')", "'12.5'", "'Debian GNU/Linux 12'"),
        ("inspect_get_product_name('/dev/sda')", "'12.5'", "'Debian GNU/Linux 13'"),
    ),
    (
        ("systems", "inspect_os()", "['btrfsvol:/dev/sdb2/root']", "['btrfsvol:/dev/sda2/root']"),
        ("inspect_os()", "['btrfsvol:/dev/sdb2/root']", "['btrfsvol:/dev/sda1/root']"),
    ),
    (
        ("systems", "inspect_get_package_management('/dev/sda')", "'yum'", "'dnf'"),
        ("inspect_get_package_management('/dev/sda')", "'apt'", "'dnf'"),
    ),
    (
        ("systems", "list_applications2 of /dev/sda", REFUSED, "[('test-0', 0, '1.0', 'noarch')]"),
        ("list_applications2 of /dev/sda", "[]", "[('test-0', 0, '1.0', 'noarch')]"),
    ),
    (
        ("systems", "inspect_get_product_name('/dev/sda')", "'Windows 10 Pro'", "'Windows 11 Pro'"),
        ("inspect_get_product_name('/dev/sda')", "'Windows 11 Pro'", "'Windows 10 Pro'"),
    ),
    (
        ("systems", "inspect_get_major_version('/dev/sda')", "0", "13"),
        ("inspect_get_major_version('/dev/sda')", "12", "13"),
    ),
    (("systems", "mount_ro('/dev/sda4', '/')", REFUSED, "None"), ("umount('/')", REFUSED, "None")),
]


@pytest.mark.parametrize(("entry", "example"), list(zip(MEANT, EXAMPLES, strict=True)), ids=lambda value: "")
def test_entry_covers_its_example_and_not_what_comes_near(entry: Difference, example: Example) -> None:
    (where, call, theirs, ours), near = example
    assert entry.covers(where, call, theirs, ours)
    assert not entry.covers(where, *near)
    assert not entry.covers("other", call, theirs, ours) or entry.where == ".*"
