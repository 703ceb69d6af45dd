"""Keys and passwords on their way to qemu: in nameless files that it inherits, never on a command line."""

import os
from contextlib import ExitStack


def secret_file(text: str, stack: ExitStack) -> int:
    """Return a descriptor of a nameless file that holds a secret; the stack closes it."""
    descriptor = os.memfd_create("secret")
    stack.callback(os.close, descriptor)
    os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    return descriptor


def secret_object(name: str, descriptor: int) -> str:
    """Return the value of qemu's --object for a secret that is in an inherited file."""
    return f"secret,id={name},file=/proc/self/fd/{descriptor}"


def key_name(index: int) -> str:
    """Return what qemu calls the key of a drive."""
    return f"key{index}"
