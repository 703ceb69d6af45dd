"""The overlay's image, which nothing in a hostile image may make large."""

import json
import os
import subprocess
import tracemalloc
from pathlib import Path

from appliance.qcow2 import DISK_MAX_BYTES, empty_image


def test_largest_disk_takes_no_memory_and_no_space_and_qemu_accepts_it(tmp_path: Path) -> None:
    tracemalloc.start()
    start, length_bytes = empty_image(DISK_MAX_BYTES)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert DISK_MAX_BYTES == 1 << 51
    assert peak_bytes < 1 << 20
    assert len(start) == 3 << 16
    image = tmp_path / "overlay.qcow2"
    image.write_bytes(start)
    os.truncate(image, length_bytes)
    assert image.stat().st_blocks * 512 < 1 << 20
    said = subprocess.run(["qemu-img", "info", "--output=json", image], check=True, capture_output=True).stdout
    assert json.loads(said)["virtual-size"] == DISK_MAX_BYTES
    subprocess.run(["qemu-io", "-c", f"write -P 1 {DISK_MAX_BYTES - 512} 512", image], check=True)
    said = subprocess.run(["qemu-img", "check", image], check=True, capture_output=True).stdout
    assert b"No errors were found" in said
