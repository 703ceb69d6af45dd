"""What is shown to a user, or logged: part of it may be the guest's, which must not pass for lines of ours."""


def printable(text: str) -> str:
    """Return a text on one line: what a terminal would obey, or no text has, as Python escapes it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
