"""Where our daemon answers otherwise than libguestfs's, on purpose: each with the reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is meant.

    Attributes:
        where: a regular expression for the name of the script, or ``mixture``.
        call: a regular expression for the call, from its beginning.
        expected: a regular expression for the whole of what libguestfs's daemon answers.
        got: a regular expression for the whole of what ours answers.
        reason: why ours is right, or cannot be the same.
    """

    where: str
    call: str
    expected: str
    got: str
    reason: str

    def covers(self, where: str, call: str, expected: str, got: str) -> bool:
        """Tell whether two answers to a call differ in this way; groups must be the same in both but for their case."""
        theirs = re.fullmatch(self.expected, expected, re.DOTALL)
        ours = re.fullmatch(self.got, got, re.DOTALL)
        return bool(
            re.fullmatch(self.where, where)
            and re.match(self.call, call)
            and theirs
            and ours
            and [group.casefold() for group in theirs.groups()] == [group.casefold() for group in ours.groups()]
        )


_NO_ERRNO: Final = "refused: no errno"
_CALL: Final = r"(\d+ )?"
"""Calls of the mixture are numbered."""
_OPENS: Final = (
    "(cat|read_(file|lines)|(head|tail)(_n)?|(down|up)load(_offset)?|checksum|write(_append)?|p(read|write)|"
    "truncate(_size)?|fallocate64|copy_file_to_file|zero|touch)"
)
"""Calls that open a file of the guest."""

MEANT: Final[tuple[Difference, ...]] = (
    Difference(
        ".*",
        _CALL + "(ln_sf?|mkdir_p|cp(_[ar])?|mv|du|find|glob_expand|tar_out|tar_in|mount(_ro)?|umount|checksums_out)\\b",
        _NO_ERRNO,
        "refused: (?:EEXIST|ENOENT|ENOTDIR|EISDIR|ELOOP|ENAMETOOLONG|EINVAL|EBUSY)",
        "libguestfs leaves the work to a program and gives no errno; ours says which it was. FUSE needs one.",
    ),
    Difference(
        ".*",
        _CALL + "(cat|read_(file|lines)|(head|tail)(_n)?|(down|up)load(_offset)?|checksum|write|pread)\\b",
        _NO_ERRNO,
        "refused: (?:EISDIR|ENOSPC)",
        "libguestfs tells that by words only; ours gives the errno as well.",
    ),
    Difference(
        ".*",
        _CALL + "(l?setxattr)\\b",
        _NO_ERRNO,
        "refused: (?:E2BIG|ENOENT|ENOTDIR|ELOOP)",
        "A value that no filesystem takes: libguestfs refuses it by words before it looks at the file.",
    ),
    Difference(
        ".*",
        _CALL + "part_",
        _NO_ERRNO,
        "refused: EINVAL",
        "No partition table, or no such partition: libguestfs tells what parted printed; ours gives the errno as well.",
    ),
    Difference(
        "mixture",
        _CALL + "statvfs",
        r"(.*'flag': )4096(, .*)",
        r"(.*'flag': )4102(, .*)",
        "The guest's filesystems are mounted nosuid and nodev: no program and no device node of a guest shall have "
        "power in the appliance.",
    ),
    Difference(
        "mixture",
        _CALL + _OPENS + r"\(",
        "refused: (?:ENXIO|ENODEV)",
        "refused: (?:EACCES|EINVAL)",
        "Opening a device node of the guest: ours never does (nodev), libguestfs opens the appliance's device of that "
        "number.",
    ),
    Difference(
        "mixture",
        _CALL + "checksums_out",
        "68 bytes, sha256 abcfa6a9d4df344d1781bc2560b5e4cdcae08b39ed303063535e7e1e926a304a|"
        r"b'd41d8cd98f00b204e9800998ecf8427e  -\\n'",
        "b''",
        "No file is there: libguestfs prints the checksum of nothing, for a file named '-'.",
    ),
    Difference(
        "mixture",
        _CALL + "(head_n|tail_n|checksum)",
        r"\[\]|4294967295",
        "refused: EISDIR",
        "No line, or the checksum of nothing, of a directory: ours refuses.",
    ),
    Difference(
        "mixture",
        _CALL + r"(head|tail)(_n)?\(",
        r"\[\]",
        r"\[''(?:, .*)?\]",
        "A file that begins with NUL: C's strings end there, so libguestfs sees no line at all.",
    ),
    Difference(
        "mixture",
        _CALL + r"case_sensitive_path\('/dir/\.'\)",
        _NO_ERRNO,
        "/dir/.",
        "libguestfs looks for an entry named '.' and finds none.",
    ),
    Difference(
        "mixture",
        _CALL + "realpath",
        "refused: ENOENT",
        "refused: ENAMETOOLONG",
        "A path of more than 4096 bytes: ours leaves it to the kernel to refuse it.",
    ),
    Difference(
        "mixture",
        _CALL + "glob_expand",
        r"\['//'\]",
        r"\['/'\]",
        "The root is a directory, whose name libguestfs ends with a slash: it has one already.",
    ),
    Difference(
        "mixture",
        _CALL + "case_sensitive_path",
        "(/.*)",
        "(/.*)",
        "Several names differ only in case: ours keeps the one that was given, libguestfs takes the first it finds.",
    ),
    Difference(
        "mixture",
        _CALL + "case_sensitive_path",
        "/.*",
        "refused: ENOTDIR",
        "The same, where the name that was given is no directory and another one is.",
    ),
    Difference(
        "partitions",
        "part_get_mbr_id",
        r"-?\d+",
        "refused: (?:no errno|EINVAL)",
        "A GPT has no such numbers: libguestfs returns what bytes it finds.",
    ),
    Difference(
        "mixture",
        _CALL + "zero(_device)?\\b",
        "None",
        "refused: EBUSY",
        "A device that is mounted: libguestfs writes over it beneath its filesystem; the kernel keeps ours from it.",
    ),
    Difference(
        "partitions",
        "part_set_name",
        _NO_ERRNO,
        "None",
        "libguestfs hands a name with a space to parted as two words.",
    ),
    Difference("partitions", "part_get_name", "'a'", "'a name'", "The same name, read."),
    Difference(
        "partitions_named",
        "list_9p",
        _NO_ERRNO,
        r"\[\]",
        "libguestfs 1.48 has given 9p up and refuses; ours tells that there is none.",
    ),
    Difference(
        "inspection|systems",
        "inspect_get_product_name",
        "'12.5'",
        r"'Debian GNU/Linux 12(?: \(bookworm\))?'",
        "libguestfs takes a Debian's name from /etc/debian_version, where it is a bare number; ours is what os-release "
        "calls it.",
    ),
    Difference(
        "systems",
        "inspect_(?:os|get_mountpoints|get_filesystems)",
        r"\[.*btrfsvol:/dev/sd[ab]2/.*\]",
        r"\[.*btrfsvol:/dev/sda2/.*\]",
        "Behind btrfsvol: libguestfs names a disk as its appliance's kernel does, which may have its own disk first. "
        "Its mount points have no order; ours begin with the root.",
    ),
    Difference(
        "systems",
        "inspect_get_package_management",
        "'yum'",
        "'dnf'",
        "Fedora has had dnf since version 22.",
    ),
    Difference(
        "systems",
        "list_applications2",
        _NO_ERRNO,
        r"\[.*",
        "Debian's libguestfs cannot open RPM's databases (rpmtsInitIterator), and virt-inspector fails altogether; "
        "ours reads them.",
    ),
    Difference(
        "systems",
        "inspect_get_product_name",
        "'Windows 10 Pro'",
        "'Windows 11 Pro'",
        "Windows 11 calls itself Windows 10; its build tells. Later versions of libguestfs look at that, too.",
    ),
    Difference(
        "systems",
        "inspect_get_(?:major_version|minor_version|product_name)",
        "0|'unknown'",
        "13|2|'FreeBSD 13.2-RELEASE'",
        "libguestfs takes FreeBSD's version from /etc/motd, which no longer has it; ours from freebsd-version.",
    ),
    Difference(
        "systems",
        "mount_ro",
        _NO_ERRNO,
        "None",
        "Linux has to be told which kind of UFS it is: libguestfs does when it inspects, ours whenever it mounts.",
    ),
)


def reason_of(where: str, call: str, expected: str, got: str) -> str | None:
    """Return why two answers to a call may differ, None if they may not."""
    return next((entry.reason for entry in MEANT if entry.covers(where, call, expected, got)), None)


def split(line: str) -> tuple[str, str]:
    """Return call and answer of a line ``call: answer``; a call that is spelled out ends with a parenthesis."""
    call, separator, answer = line.partition("): ")
    return (f"{call})", answer) if separator else (line.partition(": ")[0], line.partition(": ")[2])


def unexplained(where: str, ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the lines ``call: answer`` of two runs that differ without a reason: expected, got."""
    found = []
    for expected, got in zip(theirs, ours, strict=True):
        (call, wanted), (same_call, answered) = split(expected), split(got)
        if expected != got and (call != same_call or not reason_of(where, call, wanted, answered)):
            found.append((expected, got))
    return found
