"""A hive of Windows' registry that libhivex has open; its keys and values are numbers, which it checks."""

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes


class LibraryHive:
    """An open hive; what a method raises is OSError with libhivex's errno, named after its function.

    Args:
        path: of the file, in the appliance.
        flags: HIVEX_OPEN_… (hivex.h).
    """

    def __init__(self, path: bytes, flags: int) -> None:
        self._library = _library()
        self._handle = _done("hivex_open", self._library.hivex_open(path, flags))

    def close(self) -> None:
        """Free it; what was not committed is lost."""
        self._library.hivex_close(self._handle)

    def number(self, name: str, *arguments: Any) -> int:
        """Return what a function answers that has a key or a value for an answer."""
        return int(self._asked(name, *arguments, failed=0))

    def looked_for(self, name: str, key: int, text: str) -> int:
        """Return what a function finds in a key by a name, 0 if there is none."""
        import ctypes

        try:
            return self.number(name, key, os.fsencode(text))
        except OSError:
            if ctypes.get_errno():
                raise
            return 0

    def numbers(self, name: str, key: int) -> list[int]:
        """Return what a function answers that has keys or values for an answer."""
        import ctypes

        def read(place: int) -> list[int]:
            found: list[int] = []
            numbers = ctypes.cast(place, ctypes.POINTER(ctypes.c_size_t))
            while number := numbers[len(found)]:
                found.append(number)
            return found

        found: list[int] = _taken(self._asked(name, key), read)
        return found

    def text(self, name: str, key_or_value: int) -> str:
        """Return what a function answers that has a text for an answer."""
        import ctypes

        return os.fsdecode(_taken(self._asked(name, key_or_value), ctypes.string_at))

    def type_of(self, value: int) -> int:
        """Return the type of a value, such as 1 for REG_SZ."""
        import ctypes

        kind, length = ctypes.c_int(), ctypes.c_size_t()
        self._asked("hivex_value_type", value, ctypes.byref(kind), ctypes.byref(length), failed=-1)
        return kind.value

    def data_of(self, value: int) -> bytes:
        """Return the data of a value."""
        import ctypes

        kind, length = ctypes.c_int(), ctypes.c_size_t()
        place = self._asked("hivex_value_value", value, ctypes.byref(kind), ctypes.byref(length))
        data: bytes = _taken(place, lambda place: ctypes.string_at(place, length.value))
        return data

    def commit(self, path: bytes) -> None:
        """Write it to a file of the appliance."""
        self._asked("hivex_commit", path, 0, failed=-1)

    def delete(self, key: int) -> None:
        """Remove a key and all that is in it."""
        self._asked("hivex_node_delete_child", key, failed=-1)

    def set_value(self, key: int, name: str, kind: int, data: bytes) -> None:
        """Set a value of a key, or replace it."""
        import ctypes

        class SetValue(ctypes.Structure):
            """hive_set_value of hivex.h."""

            _fields_ = (
                ("key", ctypes.c_char_p),
                ("t", ctypes.c_int),
                ("len", ctypes.c_size_t),
                ("value", ctypes.c_char_p),
            )

        value = SetValue(os.fsencode(name), kind, len(data), data)
        self._asked("hivex_node_set_value", key, ctypes.byref(value), 0, failed=-1)

    def _asked(self, name: str, *arguments: Any, failed: object = None) -> Any:
        import ctypes

        ctypes.set_errno(0)
        return _done(name, getattr(self._library, name)(self._handle, *arguments), failed=failed)


@cache
def _library() -> "ctypes.CDLL":
    import ctypes

    library = ctypes.CDLL("libhivex.so.0", use_errno=True)
    pointer, number, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.hivex_open.argtypes = [text, ctypes.c_int]
    library.hivex_open.restype = pointer
    for name, more in (
        ("close", []),
        ("root", []),
        ("node_name", [number]),
        ("node_children", [number]),
        ("node_get_child", [number, text]),
        ("node_parent", [number]),
        ("node_values", [number]),
        ("node_get_value", [number, text]),
        ("value_key", [number]),
        ("value_type", [number, pointer, pointer]),
        ("value_value", [number, pointer, pointer]),
        ("value_string", [number]),
        ("commit", [text, ctypes.c_int]),
        ("node_add_child", [number, text]),
        ("node_delete_child", [number]),
        ("node_set_value", [number, pointer, ctypes.c_int]),
    ):
        getattr(library, f"hivex_{name}").argtypes = [pointer, *more]
    for name in ("root", "node_get_child", "node_parent", "node_get_value", "node_add_child"):
        getattr(library, f"hivex_{name}").restype = number
    for name in ("node_name", "node_children", "node_values", "value_key", "value_value", "value_string"):
        getattr(library, f"hivex_{name}").restype = pointer
    return library


def _done(name: str, result: Any, *, failed: object = None) -> Any:
    """Return what a function of libhivex answered.

    Raises:
        OSError: it failed.
    """
    import ctypes

    if result == failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _taken(place: int, read: Callable[[int], Any]) -> Any:
    """Return what is read from memory of libhivex's, which is freed."""
    import ctypes

    try:
        return read(place)
    finally:
        free = ctypes.CDLL(None).free
        free.argtypes = [ctypes.c_void_p]
        free(place)
