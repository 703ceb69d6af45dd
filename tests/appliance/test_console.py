import os

import trio

from appliance.console import Console


def test_tail_is_the_last_lines_without_the_firmware() -> None:
    console = Console(lambda data: None)
    console.feed(b"\x1b[2JSeaBIOS (version 1)\r\nBooting from ROM..\r\n")
    for number in range(60):
        console.feed(b"line %d\r\n" % number)
    console.feed(b"cut sh")
    assert console.tail == [f"line {number}" for number in range(20, 60)] + ["cut sh"]


def test_lines_in_pieces_and_not_utf8_are_put_together() -> None:
    passed_on = bytearray()
    console = Console(passed_on.extend)
    text = b"one\ntwo \xff\n"
    for byte in text:
        console.feed(bytes([byte]))
    assert console.tail == ["one", "two \N{REPLACEMENT CHARACTER}"]
    assert passed_on == text


def test_summary_is_the_panic_or_the_last_lines() -> None:
    console = Console(lambda data: None)
    console.feed(b"one\ntwo\nthree\nfour\n")
    assert console.summary == "two | three | four"
    console.feed(b"Kernel panic - not syncing\nCall Trace:\n" + b"?\n" * 200)
    assert console.summary == "Kernel panic - not syncing"


def test_endless_line_is_bounded() -> None:
    console = Console(lambda data: None)
    for _ in range(100):
        console.feed(b"x" * 10_000)
    assert sum(map(len, console.tail)) <= 1000


async def test_pump_takes_all_until_the_end() -> None:
    console = Console(lambda data: None)
    reader, writer = os.pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.pump, trio.lowlevel.FdStream(reader))
        os.write(writer, b"Kernel panic\n")
        os.close(writer)
        with trio.fail_after(60):
            await console.ended.wait()
    assert console.tail == ["Kernel panic"]
