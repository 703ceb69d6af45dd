"""Errnos cross the wire by libguestfs's names."""

import errno
from typing import Final

import pytest

from rpc.errno_names import errno_name, errno_number
from rpc.errors import ConnectionLost, GuestmountError, ProcedureError, ProtocolError, UsageError

LIBGUESTFS: Final = """
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EADV EAFNOSUPPORT EAGAIN EALREADY EBADE EBADF EBADFD EBADMSG EBADR
    EBADRQC EBADSLT EBFONT EBUSY ECANCELED ECHILD ECHRNG ECOMM ECONNABORTED ECONNREFUSED ECONNRESET EDEADLOCK
    EDESTADDRREQ EDOM EDOTDOT EDQUOT EEXIST EFAULT EFBIG EHOSTDOWN EHOSTUNREACH EIDRM EILSEQ EINPROGRESS EINTR
    EINVAL EIO EISCONN EISDIR EISNAM EKEYEXPIRED EKEYREJECTED EKEYREVOKED EL2HLT EL2NSYNC EL3HLT EL3RST ELIBACC
    ELIBBAD ELIBEXEC ELIBMAX ELIBSCN ELNRNG ELOOP EMEDIUMTYPE EMFILE EMLINK EMSGSIZE EMULTIHOP ENAMETOOLONG
    ENAVAIL ENETDOWN ENETRESET ENETUNREACH ENFILE ENOANO ENOBUFS ENOCSI ENODATA ENODEV ENOENT ENOEXEC ENOKEY
    ENOLCK ENOLINK ENOMEDIUM ENOMEM ENOMSG ENONET ENOPKG ENOPROTOOPT ENOSPC ENOSR ENOSTR ENOSYS ENOTBLK ENOTCONN
    ENOTDIR ENOTEMPTY ENOTNAM ENOTRECOVERABLE ENOTSOCK ENOTSUP ENOTTY ENOTUNIQ ENXIO EOVERFLOW EOWNERDEAD EPERM
    EPFNOSUPPORT EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ERANGE EREMCHG EREMOTE EREMOTEIO ERESTART ERFKILL EROFS
    ESHUTDOWN ESOCKTNOSUPPORT ESPIPE ESRCH ESRMNT ESTALE ESTRPIPE ETIME ETIMEDOUT ETOOMANYREFS ETXTBSY EUCLEAN
    EUNATCH EUSERS EXDEV EXFULL
"""
"""Every name that the library knows (guestfs-protocol section 2.3)."""


@pytest.mark.parametrize("name", LIBGUESTFS.split())
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


@pytest.mark.parametrize("number", [errno.EINVAL, 41, 58, 133, 9999, -1])  # Linux has no 41 and 58; 133: EHWPOISON
def test_number_outside_the_list_is_einval(number: int) -> None:
    assert errno_name(number) == "EINVAL"


def test_nothing_is_sent_that_the_library_does_not_know() -> None:
    assert {errno_name(number) for number in range(1, 200)} == set(LIBGUESTFS.split())


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
