"""Servers of disks on this machine, for as long as a test needs them."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Final

from tests.guests.cache import run

_UP_S: Final = 30.0


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nbd_server(image: Path, *options: str, port: int | None = None, kind: str = "raw") -> Iterator[None]:
    """Export an image with qemu-nbd, to be read only."""
    where = () if port is None else ("--bind=127.0.0.1", f"--port={port}")
    argv = ["qemu-nbd", "--read-only", "--persistent", "--shared=4", f"--format={kind}", *where, *options, str(image)]
    with running(argv, port):
        yield


@contextmanager
def running(argv: list[str], port: int | None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server; if it listens at a port, wait for that."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            deadline = time.monotonic() + _UP_S
            while port is not None and not _listens(port):
                assert server.poll() is None, server.stderr and server.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield server
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Files(BaseHTTPRequestHandler):
    """A web server that knows ranges, which http.server does not."""

    protocol_version = "HTTP/1.1"
    directory: ClassVar[Path]

    def do_HEAD(self) -> None:
        """Answer without the bytes."""
        self._answer(with_bytes=False)

    def do_GET(self) -> None:
        """Answer with all bytes, or with those asked for."""
        self._answer(with_bytes=True)

    def _answer(self, *, with_bytes: bool) -> None:
        path = self.directory / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(206 if match else 200)
        if match:
            start, end = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            data = data[start : end + 1]
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_bytes:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@contextmanager
def web_server(directory: Path) -> Iterator[int]:
    """Serve the files of a directory; yield the port."""
    handler = type("Handler", (_Files,), {"directory": directory})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def ssh_server(directory: Path) -> Iterator[tuple[int, list[str]]]:
    """Run dropbear, which lets root in by a key; yield its port, and the words that run a program which has that key.

    Both look for the key in root's home: that is another directory in mount namespaces of their own.
    """
    port, home = free_port(), directory / "ssh"
    home.mkdir(mode=0o700)
    for name, key in (("host", directory / "host"), ("user", home / "id_ed25519")):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
    (home / "authorized_keys").write_text((home / "id_ed25519.pub").read_text())
    kind, host_key, _ = (directory / "host.pub").read_text().split()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {host_key}\n")
    run("dropbearconvert", "openssh", "dropbear", directory / "host", directory / "host.dropbear")
    script = 'mkdir -p /root/.ssh; mount --bind "$0" /root/.ssh; exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", script, str(home)]
    only_keys = ("-s", "-r", str(directory / "host.dropbear"), "-P", str(directory / "pid"))
    with running([*within, "/usr/sbin/dropbear", "-F", "-E", *only_keys, "-p", f"127.0.0.1:{port}"], port):
        yield port, within
