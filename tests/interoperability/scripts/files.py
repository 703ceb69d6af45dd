"""Files and directories: errors with their errno, sizes, archives, commands."""

import io
import os
import tarfile
from collections.abc import Iterator
from typing import Final

from tests.interoperability.scripts import script
from tests.interoperability.stage import Stage, asked

_ENTRIES: Final = 22_000
_NAME_BYTES: Final = 200


@script("calls that fail, with the errno that each carries")
def errors(stage: Stage) -> Iterator[str]:
    with stage.filesystem() as library:
        library.mkdir("/dir")
        library.touch("/dir/file")
        library.ln_s("loop", "/loop")
        for name, *arguments in (
            ("mkdir", "/dir"),
            ("mkdir", "/dir/file/below"),
            ("mkdir", "/none/below"),
            ("mkdir", "/" + "n" * 256),
            ("mkdir", "relative"),
            ("rmdir", "/dir"),
            ("rmdir", "/dir/file"),
            ("rm", "/dir"),
            ("rm", "/none"),
            ("cat", "/dir"),
            ("cat", "/loop"),
            ("read_file", "/none"),
            ("readlink", "/dir"),
            ("realpath", "/loop"),
            ("ln", "/dir", "/hard"),
            ("ln_s", "x", "/dir"),
            ("rename", "/dir", "/dir/inside"),
            ("mv", "/none", "/other"),
            ("cp", "/none", "/other"),
            ("ls", "/dir/file"),
            ("ls", "/none"),
            ("find", "/none"),
            ("truncate_size", "/dir", 5),
            ("truncate_size", "/none", 5),
            ("write", "/dir", b"x"),
            ("pread", "/dir/file", -1, 0),
            ("pread", "/dir", 1, 0),
            ("pwrite", "/none", b"x", 0),
            ("lgetxattr", "/dir", "user.none"),
            ("setxattr", "bad", "x", 1, "/dir"),
            ("chmod", 0o7, "/none"),
            ("umask", -1),
            ("umask", 0o1000),
            ("mknod", 0, 0, 0, "/dir"),
            ("mount", "/dev/sda", "/dir/none"),
            ("mount", "/dev/sdz", "/"),
            ("mount", "/dev/sdb", "/dir"),
            ("umount", "/dir"),
            ("checksum", "nonsense", "/dir/file"),
            ("vfs_type", "/dev/sdz"),
            ("part_list", "/dev/sdc"),
            ("part_get_parttype", "/dev/sdc"),
            ("blockdev_getsize64", "/dev/null"),
            ("blockdev_getsize64", "/dir"),
            ("available", ["nonsense"]),
        ):
            yield asked(library, name, *arguments)


@script("calls with paths before anything is mounted")
def nothing_mounted(stage: Stage) -> Iterator[str]:
    with stage.shared() as library:
        library.umount_all()
        for name, *arguments in (("ls", "/"), ("touch", "/a"), ("exists", "/"), ("mkdir_p", "/a/b"), ("statvfs", "/")):
            yield asked(library, name, *arguments)
        yield from (asked(library, name) for name in ("mounts", "mountpoints", "umount_all", "sync", "df"))
        yield asked(library, "mkmountpoint", "/mp")
        yield asked(library, "ls", "/mp")
        library.mkfs("ext2", "/dev/sdb")
        yield asked(library, "mount", "/dev/sdb", "/mp")
        yield asked(library, "mountpoints")
        yield asked(library, "rmmountpoint", "/mp")
        yield asked(library, "umount", "/mp")
        yield asked(library, "rmmountpoint", "/mp")


@script("a directory whose listing is longer than a message")
def big_directory(stage: Stage) -> Iterator[str]:
    archive = stage.directory / "entries.tar"
    names = [f"{index:06d}".ljust(_NAME_BYTES, "n") for index in range(_ENTRIES)]
    with tarfile.open(archive, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    with stage.shared() as library:
        library.mkfs("ext4", "/dev/sda", inode=128, blocksize=4096)
        library.mount("/dev/sda", "/")
        library.mkdir("/big")
        library.tar_in(os.fspath(archive), "/big")
        assert library.ls("/big") == names
        assert library.find("/big") == [f"/{name}" for name in names]
        yield f"ls and find: {_ENTRIES} names"
        yield asked(library, "readdir", "/big")
        stats = library.lstatnslist("/big", names)
        yield f"lstatnslist: {len(stats)}, {sum(stat['st_size'] for stat in stats)} bytes"
        assert len(library.glob_expand("/big/0*9*")) == sum(1 for name in names if "9" in name)
        library.rm_rf("/big")
        yield asked(library, "ls", "/")
    archive.unlink()


@script("umask, modes and owners of what is made")
def modes(stage: Stage) -> Iterator[str]:
    with stage.filesystem() as library:
        for mask in (0o022, 0, 0o077):
            yield asked(library, "umask", mask)
            yield asked(library, "get_umask")
            directory = f"/{mask:o}"
            library.mkdir(directory)
            library.mkdir_mode(f"{directory}/mode", 0o2775)
            library.touch(f"{directory}/touch")
            library.write(f"{directory}/write", b"")
            library.upload("/dev/null", f"{directory}/upload")
            library.mknod(0o100666, 0, 0, f"{directory}/mknod")
            library.mkfifo(0o666, f"{directory}/mkfifo")
            library.mknod_b(0o666, 8, 1, f"{directory}/mknod_b")
            library.mknod_c(0o666, 1, 3, f"{directory}/mknod_c")
            library.mkdtemp(f"{directory}/tmpXXXXXX")
            names = [name for name in library.ls(directory) if not name.startswith("tmp")]
            for name, stat in zip(names, library.lstatnslist(directory, names), strict=True):
                yield f"{directory}/{name}: {stat['st_mode']:o} {stat['st_rdev']:#x}"
        yield asked(library, "umask", 0o022)


@script("archives in and out, with their optional arguments (compression: in tests/daemon)")
def archives(stage: Stage) -> Iterator[str]:
    back = stage.directory / "back.tar"
    with stage.filesystem() as library:
        library.mkdir_p("/from/below")
        library.write("/from/below/file", b"content")
        library.ln_s("below/file", "/from/link")
        library.ln("/from/below/file", "/from/hard")
        library.chown(1234, 5678, "/from/below/file")
        library.setxattr("user.x", "value", 5, "/from/below/file")
        yield asked(library, "tar_out", "/from", os.fspath(back), compress="nonsense").replace(str(back), "back")
        # libguestfs's appliance lacks "compress", and its daemon does not survive tar_in with nonsense.
        for compress in ("gzip", "bzip2", "xz", "lzop"):
            yield asked(library, "tar_out", "/from", os.fspath(back), compress=compress).replace(str(back), "back")
            library.mkdir_p(f"/{compress}")
            yield asked(library, "tar_in", os.fspath(back), f"/{compress}", compress=compress).replace(
                str(back), "back"
            )
            yield asked(library, "find", f"/{compress}")
        library.tar_out(
            "/from", os.fspath(back), numericowner=True, excludes=["link"], xattrs=True, acls=True, selinux=True
        )
        with tarfile.open(back) as tar:
            # Which of two hard links comes first is the order of the directory, random in each filesystem.
            linked = (tarfile.REGTYPE, tarfile.LNKTYPE)
            yield from sorted(
                f"{member.name} {member.mode:o} {member.uid}:{member.gid} {member.type in linked} {member.uname!r}"
                for member in tar.getmembers()
            )
        library.mkdir("/to")
        library.tar_in(os.fspath(back), "/to", xattrs=True, acls=True, selinux=True)
        yield asked(library, "getxattrs", "/to/below/file")
        back.write_bytes(b"this is not an archive")
        yield asked(library, "tar_in", os.fspath(back), "/to").replace(str(back), "back")
        yield asked(library, "tar_in", os.fspath(back), "/none").replace(str(back), "back")
        yield asked(library, "tar_out", "/none", os.fspath(back)).replace(str(back), "back")
        yield asked(library, "ping_daemon")


@script("programs of the guest, run in its root")
def commands(stage: Stage) -> Iterator[str]:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(stage.busybox, "bin/busybox")
        for name in ("sh", "echo", "cat", "false", "pwd", "ls", "id"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    local = stage.directory / "busybox.tar"
    local.write_bytes(archive.getvalue())
    with stage.filesystem() as library:
        library.tar_in(os.fspath(local), "/")
        yield asked(library, "command", ["/bin/echo", "two", "words"])
        yield asked(library, "command_lines", ["/bin/echo", "-e", "one\\ntwo\\n\\nfour"])
        yield asked(library, "sh", "echo $((6 * 7)); pwd; id -u")
        yield asked(library, "sh_lines", "echo a; echo b")
        yield asked(library, "command", ["/bin/false"])
        yield asked(library, "command", ["/bin/none"])
        yield asked(library, "command", [])
        yield asked(library, "sh", "echo to standard error >&2; exit 3")
        yield asked(library, "sh", "cat")
        yield asked(library, "sh", "echo written > /written")
        yield asked(library, "cat", "/written")
        yield asked(library, "sh", "ls /dev/sda /proc/self/exe")
        yield asked(library, "ls", "/")
