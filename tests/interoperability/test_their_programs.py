"""libguestfs's programs with our appliance: guestfish, guestmount and the virt tools work on a real guest."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.guests.disk import kernel_mount
from tests.guests.linux import FILESYSTEMS, linux_disk
from tests.interoperability.library import DEBIAN_PYTHON
from tests.interoperability.stage import Stage
from tests.system.comparison import rsync_differences

pytestmark = [pytest.mark.appliance, pytest.mark.root]

# The disk holds three guests; those programs that inspect want one, so they get a copy of its first partition.
PARTITION: Final = "/dev/sda1"


@pytest.fixture(scope="module")
def reference() -> Iterator[Path]:
    """Mount the guest with the host's kernel."""
    with kernel_mount(linux_disk(), 1, FILESYSTEMS[0]) as directory:
        yield directory


@pytest.fixture(scope="module")
def one_guest(our_stage: Stage) -> Path:
    """Make a disk with one Debian on it, as a whole-disk filesystem."""
    image = our_stage.directory / "one-guest.img"
    tree = our_stage.directory / "one-guest"
    for name in ("bin", "etc", "home", "usr/bin", "var/lib/dpkg"):
        (tree / name).mkdir(parents=True)
    release = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
    (tree / "etc/os-release").write_text(release)
    (tree / "etc/debian_version").write_text("12.5\n")
    (tree / "etc/hostname").write_text("guest\n")
    (tree / "etc/fstab").write_text("LABEL=one-guest / ext4 defaults 0 1\n")
    (tree / "var/lib/dpkg/status").write_text("")
    (tree / "home/file").write_bytes(b"content\n")
    (tree / "home/link").symlink_to("file")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "one-guest", "-d", tree, image, "64M"], check=True)
    return image


def said(finished: "subprocess.CompletedProcess[str]") -> str:
    """Return what a program printed; it must have succeeded without complaint."""
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def on_the_guest(stage: Stage, program: str, *arguments: str) -> str:
    return said(stage.program(program, "--format=raw", "-a", linux_disk(), "-m", PARTITION, *arguments))


def test_guestfish_script(our_stage: Stage) -> None:
    disk = our_stage.disk(64)
    local = our_stage.directory / "guestfish"
    (local / "in/below").mkdir(parents=True)
    (local / "in/below/file").write_text("in and out\n")
    script = f"""
        add {disk} format:raw
        run
        part-disk /dev/sda mbr
        mkfs ext4 /dev/sda1 label:from-guestfish
        list-filesystems
        mount /dev/sda1 /
        mkdir-p /a/b
        write /a/b/file "some text\\nin lines\\n"
        cat /a/b/file
        -mkdir /a
        copy-in {local}/in /a
        ll /a
        find /
        glob cat /a/*/file
        copy-out /a/in/below {local}
        tar-out /a {local}/a.tar
        mkdir /from-tar
        tar-in {local}/a.tar /from-tar
        is-file /from-tar/b/file
        stat /a/b/file | grep size
        cp-a /a/b /a/c
        upload {local}/in/below/file /a/uploaded
        checksum md5 /a/uploaded
        download /a/uploaded {local}/downloaded
        vfs-label /dev/sda1
        umount /
        lvs
        fsck ext4 /dev/sda1
    """
    finished = our_stage.program("guestfish", stdin=script)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.endswith(": libguestfs: error: mkdir: /a: File exists\n")
    assert "/dev/sda1: ext4" in finished.stdout
    assert "some text\nin lines\n" in finished.stdout
    assert "size: 19" in finished.stdout
    assert "from-guestfish" in finished.stdout
    assert "drwxr-xr-x" in finished.stdout
    assert (local / "below/file").read_text() == (local / "downloaded").read_text() == "in and out\n"
    with tarfile.open(local / "a.tar") as tar:
        assert "./b/file" in tar.getnames()


def test_guestfish_remote_control(our_stage: Stage) -> None:
    # It stays in the background and would keep a pipe open for ever.
    printed = our_stage.directory / "listening"
    said(our_stage.program("sh", "-c", f"guestfish --listen --format=raw -a {our_stage.disk(16)} >{printed} 2>&1"))
    pid = printed.read_text().partition("GUESTFISH_PID=")[2].partition(";")[0]
    remote = ("guestfish", f"--remote={pid}")
    said(our_stage.program(*remote, "run"))
    said(our_stage.program(*remote, "mkfs", "ext2", "/dev/sda"))
    said(our_stage.program(*remote, "mount", "/dev/sda", "/"))
    said(our_stage.program(*remote, "touch", "/file"))
    assert said(our_stage.program(*remote, "ls", "/")) == "file\nlost+found\n"
    # A command that fails ends a listening guestfish.
    assert our_stage.program(*remote, "cat", "/none").returncode == 1
    assert our_stage.program(*remote, "ping-daemon").returncode == 1


def test_guestmount_mounts_through_our_daemon(our_stage: Stage, reference: Path) -> None:
    mountpoint = our_stage.directory / "mnt"
    mountpoint.mkdir()
    on_the_guest(our_stage, "guestmount", "--ro", os.fspath(mountpoint))
    try:
        assert names_in(mountpoint) == names_in(reference)
        # The oddities hold what guestmount itself cannot show; test_our_client compares everything.
        assert rsync_differences(mountpoint / "etc", reference / "etc", ()) == ""
        assert rsync_differences(reference / "usr/lib", mountpoint / "usr/lib", ()) == ""
    finally:
        said(our_stage.program("guestunmount", mountpoint))


def test_guestmount_writes_through_our_daemon(our_stage: Stage) -> None:
    disk = our_stage.disk(64)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk], check=True)
    mountpoint = our_stage.directory / "mnt-rw"
    mountpoint.mkdir()
    pid_file = our_stage.directory / "guestmount.pid"
    said(
        our_stage.program(
            *("guestmount", "--format=raw", "-a", disk, "-m", "/dev/sda", "--rw", "--pid-file", pid_file, mountpoint)
        )
    )
    try:
        (mountpoint / "dir").mkdir()
        (mountpoint / "dir/file").write_bytes(b"written by guestmount" * 10_000)
        (mountpoint / "dir/file").rename(mountpoint / "renamed")
        (mountpoint / "link").symlink_to("renamed")
        os.link(mountpoint / "renamed", mountpoint / "hard")
        os.truncate(mountpoint / "hard", 21)
        (mountpoint / "renamed").chmod(0o640)
        os.setxattr(mountpoint / "renamed", "user.x", b"value")
        with pytest.raises(FileExistsError):
            (mountpoint / "dir").mkdir()
    finally:
        said(our_stage.program("guestunmount", mountpoint))
    wait_until_gone(pid_file)
    with our_stage.launched(disk) as library:
        library.mount_ro("/dev/sda", "/")
        assert library.read_file("/hard") == b"written by guestmount"
        assert library.lstatns("/renamed")["st_mode"] == 0o100640
        assert library.lgetxattr("/renamed", "user.x") == b"value"
        assert library.readlink("/link") == "renamed"


def wait_until_gone(pid_file: Path) -> None:
    """Wait for guestmount, which removes this file when the image is free."""
    for _ in range(600):
        if not pid_file.exists():
            return
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("guestmount did not end")


def test_virt_ls(our_stage: Stage, reference: Path) -> None:
    names = on_the_guest(our_stage, "virt-ls", "/etc").splitlines()
    assert names == names_in(reference / "etc")


def test_virt_ls_long_and_recursive(our_stage: Stage, reference: Path) -> None:
    lines = on_the_guest(our_stage, "virt-ls", "-lR", "--checksum=md5", "/etc").splitlines()
    assert len(lines) == 1 + sum(len(names) + len(files) for _, names, files in os.walk(reference / "etc"))
    assert any("/etc/os-release" in line and " -> ../usr/lib/os-release" in line for line in lines)


def test_virt_cat(our_stage: Stage, reference: Path) -> None:
    assert on_the_guest(our_stage, "virt-cat", "/etc/passwd") == (reference / "etc/passwd").read_text()


def test_virt_df(our_stage: Stage, reference: Path) -> None:
    lines = said(our_stage.program("virt-df", "--format=raw", "-a", linux_disk(), "--csv")).splitlines()
    rows = {row[1]: row for row in (line.split(",") for line in lines[1:])}
    assert [name for name in rows if not name.startswith("btrfsvol:")] == ["/dev/sda1", "/dev/sda2", "/dev/sda3"]
    total = os.statvfs(reference)
    assert int(rows["/dev/sda1"][2]) == total.f_blocks * total.f_frsize // 1024


def test_virt_filesystems(our_stage: Stage) -> None:
    printed = said(
        our_stage.program("virt-filesystems", "--format=raw", "-a", linux_disk(), "--all", "--long", "--csv")
    )
    rows = [line.split(",") for line in printed.splitlines()]
    assert rows[0][:4] == ["Name", "Type", "VFS", "Label"]
    found = {(row[0], row[1]): row for row in rows[1:]}
    for number, filesystem in enumerate(FILESYSTEMS, start=1):
        assert found[f"/dev/sda{number}", "filesystem"][2:4] == [filesystem, f"guest-{filesystem}"]
        assert (f"/dev/sda{number}", "partition") in found
    assert ("/dev/sda", "device") in found


def test_virt_copy_out(our_stage: Stage, one_guest: Path) -> None:
    target = our_stage.directory / "copied"
    target.mkdir()
    assert said(our_stage.program("virt-copy-out", "--format=raw", "-a", one_guest, "/home", target)) == ""
    assert (target / "home/file").read_bytes() == b"content\n"
    assert (target / "home/link").readlink() == Path("file")


def test_virt_tar_out(our_stage: Stage, one_guest: Path) -> None:
    archive = our_stage.directory / "home.tar"
    assert said(our_stage.program("virt-tar-out", "--format=raw", "-a", one_guest, "/home", archive)) == ""
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == [".", "./file", "./link"]


PYTHON_SCRIPT: Final = """
import sys, guestfs
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], format="raw", readonly=1)
g.launch()
for device, kind in g.list_filesystems().items():
    if device.startswith("btrfsvol:"):
        continue
    g.mount_ro(device, "/")
    print(device, kind, g.vfs_label(device), len(g.readdir("/")), g.lstatns("/etc/passwd")["st_size"])
    g.umount("/")
g.shutdown()
g.close()
"""


def test_python_script(our_stage: Stage, reference: Path) -> None:
    printed = said(our_stage.program(DEBIAN_PYTHON, "-c", PYTHON_SCRIPT, linux_disk()))
    size = (reference / "etc/passwd").stat().st_size
    lines = printed.splitlines()
    count = len(names_in(reference)) + len((".", ".."))
    assert lines[0] == f"/dev/sda1 ext4 guest-ext4 {count} {size}"
    assert [line.split()[:3] for line in lines[1:]] == [
        ["/dev/sda2", "xfs", "guest-xfs"],
        ["/dev/sda3", "btrfs", "guest-btrfs"],
    ]
