"""Errnos cross the wire by libguestfs's names."""

import errno

import pytest

from rpc.errno_names import errno_name, errno_number
from rpc.errors import ConnectionLost, GuestmountError, ProcedureError, ProtocolError, UsageError


@pytest.mark.parametrize("name", ["ENOENT", "EINVAL", "ENOTSUP", "EAGAIN", "EDEADLOCK", "EUCLEAN", "EXFULL", "E2BIG"])
def test_name_in_the_list_round_trips(name: str) -> None:
    assert errno_number(name) == getattr(errno, name)
    assert errno_name(getattr(errno, name)) == name


@pytest.mark.parametrize(
    ("number", "name"), [(errno.EOPNOTSUPP, "ENOTSUP"), (errno.EWOULDBLOCK, "EAGAIN"), (errno.EDEADLK, "EDEADLOCK")]
)
def test_second_name_of_a_number_is_not_sent(number: int, name: str) -> None:
    assert errno_name(number) == name


def test_no_errno_is_an_empty_name() -> None:
    assert errno_name(0) == ""
    assert errno_number("") == 0


@pytest.mark.parametrize("name", ["enoent", "EOPNOTSUPP", "EWOULDBLOCK", "E", "ENOENT ", "errorcode"])
def test_name_outside_the_list_is_einval(name: str) -> None:
    assert errno_number(name) == errno.EINVAL


def test_number_outside_the_list_is_einval() -> None:
    assert errno_name(9999) == "EINVAL"


def test_every_name_fits_its_field() -> None:
    assert max(len(errno_name(number)) for number in range(1, 140)) <= 32


def test_procedure_error_without_errno_is_einval() -> None:
    error = ProcedureError("mount", 0, "", "no such device")
    assert (error.errno, error.errno_name, str(error)) == (errno.EINVAL, "", "mount: no such device")


def test_every_error_owns_an_exit_status() -> None:
    def below(cls: type[GuestmountError]) -> list[type[GuestmountError]]:
        return [cls, *(each for child in cls.__subclasses__() for each in below(child))]

    assert {cls.exit_code for cls in below(GuestmountError)} == {1, 2}
    assert UsageError.exit_code == 2
    assert not issubclass(ConnectionLost, ProtocolError)
