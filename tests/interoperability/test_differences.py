"""A difference is meant only as it was written down."""

from tests.interoperability.differences import reason_of, split, unexplained

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
