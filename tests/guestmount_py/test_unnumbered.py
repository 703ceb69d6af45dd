"""Filesystems without inode numbers: the guest's kernel makes some up, and others when it reads a directory again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from guestmount_py import Guest
from guestmount_py.config import GuestMount
from guestmount_py.guest_root import guest_root
from guestmount_py.inodes import ROOT, Inode, InodeTable
from guestmount_py.tree import Tree
from tests.guests.cache import run
from tests.guests.foreign import foreign_disk, written_contents

pytestmark = [pytest.mark.appliance, pytest.mark.root, pytest.mark.usefixtures("appliance_files")]
_MIB = 1 << 20


@asynccontextmanager
async def _mounted(image: Path, device: str, fstype: str = "") -> AsyncIterator[tuple[Guest, InodeTable]]:
    async with Guest() as g:
        g.add_drive(image, format="raw")
        await g.launch()
        await g.files.mount(device, b"/", "ro", fstype)
        root = await guest_root(g.files, [GuestMount(device, fstype=fstype)])
        yield g, InodeTable(root.root, root.devices, root.unnumbered)


@asynccontextmanager
async def _new_tree(g: Guest, inodes: InodeTable) -> AsyncIterator[Tree]:
    """Own a tree that has nothing yet of what the kernel knows: all listings and contents were given up."""
    async with trio.open_nursery() as nursery:
        yield Tree(g.files, inodes, nursery)
        nursery.cancel_scope.cancel()


async def _listed(tree: Tree, directory: Inode, path: str) -> dict[str, Inode]:
    """List a tree as a walker does; return the files' numbers."""
    files: dict[str, Inode] = {}
    for entry in (await tree.directories.listing(directory, path.encode() or b"/")).entries:
        inode = tree.inodes.remember(entry, directory)
        name = f"{path}/{os.fsdecode(entry.name)}"
        if entry.is_directory:
            files |= await _listed(tree, inode, name)
        else:
            files[name] = inode
    return files


async def _guests_numbers(g: Guest, path: bytes) -> list[int]:
    return [entry.fields[1] for entry in await g.files.list_directory(path)]


@pytest.mark.parametrize("fstype", ["", "vfat", "auto"])
async def test_files_of_vfat_are_found_again_though_the_guest_numbers_them_anew(fstype: str) -> None:
    async with _mounted(foreign_disk(), "/dev/sda1", fstype) as (g, inodes):
        async with _new_tree(g, inodes) as tree:
            files = await _listed(tree, ROOT, "")
            numbers = await _guests_numbers(g, b"/many")
        await g.drop_caches(3)
        assert await _guests_numbers(g, b"/many") != numbers  # else this shows nothing
        expected = {
            f"/{path.relative_to(written_contents())}": path.read_bytes()
            for path in written_contents().rglob("*")
            if path.is_file()
        }
        assert files.keys() == expected.keys()
        async with _new_tree(g, inodes) as tree:
            for name, inode in files.items():
                assert await tree.files.read(inode, 0, len(expected[name]) + 1) == expected[name], name
            assert await _listed(tree, ROOT, "") == files
        inodes.check_invariants()


async def test_numbers_of_exfat_stay_too(tmp_path: Path) -> None:
    image = tmp_path / "exfat.img"
    with image.open("wb") as file:
        file.truncate(16 * _MIB)
    run("mkfs.exfat", image)
    async with _mounted(image, "/dev/sda") as (g, inodes):
        await g.umount("/")
        await g.mount_vfs("", "exfat", "/dev/sda", "/")
        for name in ("one", "two", "three"):
            await g.write(f"/{name}", name.encode())
        await g.umount("/")
        await g.mount_ro("/dev/sda", "/")
        async with _new_tree(g, inodes) as tree:
            files = await _listed(tree, ROOT, "")
            numbers = await _guests_numbers(g, b"/")
        await g.drop_caches(3)
        assert await _guests_numbers(g, b"/") != numbers
        async with _new_tree(g, inodes) as tree:
            for name, inode in files.items():
                assert await tree.files.read(inode, 0, 9) == name[1:].encode()


async def test_ntfs_keeps_the_guests_numbers() -> None:
    async with _mounted(foreign_disk(), "/dev/sda2") as (g, inodes):
        async with _new_tree(g, inodes) as tree:
            files = await _listed(tree, ROOT, "")
        await g.drop_caches(3)
        numbers = await _guests_numbers(g, b"/many")
        assert [inode for name, inode in files.items() if name.startswith("/many/")] == numbers
