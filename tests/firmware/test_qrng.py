"""Quantum sources of a board: by name, and behind a serial port that does anything."""

import asyncio
import sys

from refusal import refused
from sources import Noise, Port

from handfast.core.constants import SOURCE_OPERATING_SYSTEM, SOURCE_QUANTUM
from handfast.core.errors import EntropyError, LocalError
from handfast.core.frames import delimit
from handfast_micropython.qrng import open_source
from handfast_micropython.qrng_serial import SerialSource


def module(port: Port, framed: bool = False) -> SerialSource:
    """A source at that port."""
    return SerialSource("1", framed=framed, open_port=lambda name, baud: port)


async def failed(source: SerialSource) -> str:
    """Why a read failed."""
    try:
        await source.read(10)
    except EntropyError as error:
        return error.detail
    raise AssertionError("there was something to read")


async def test_raw_bytes_come_as_they_are_and_stale_ones_are_thrown_away() -> None:
    port = Port([b"abc", b"defgh"])
    source = module(port)
    for expected in (b"ab", b"c", b"de", b"fg"):
        assert await source.read(2) == expected
    assert port.stale == 1
    await source.close()
    await source.close()
    assert port.closed == 1


async def test_frames_give_their_bytes_and_a_damaged_one_gives_none() -> None:
    noise = Noise()
    good, bad, last = noise(256), noise(20), noise(7)
    damaged = bytearray(delimit(bad))
    damaged[5] ^= 4
    line = b"half of an old frame" + delimit(good) + bytes(damaged) + delimit(bytes(300)) + delimit(last)
    port = Port([line[at : at + 50] for at in range(0, len(line), 50)])
    source = module(port, framed=True)
    read = b""
    while len(read) < 263:
        read += await source.read(100)
    assert read == good + last


async def test_a_module_that_is_gone_or_breaks_is_an_error_and_is_opened_again() -> None:
    ports = [Port([b"ab"], gone=True), Port([OSError(5)]), Port([b"cd"])]
    source = SerialSource("1", open_port=lambda name, baud: ports.pop(0))
    assert await source.read(10) == b"ab"
    assert "ended" in await failed(source)
    assert "connected" in await failed(source)
    assert await source.read(10) == b"cd"


async def test_a_read_that_was_given_up_loses_nothing() -> None:
    port = Port([])
    source = module(port)
    try:
        await asyncio.wait_for(source.read(4), 0.01)
        raise AssertionError("a silent module gave bytes")
    except asyncio.TimeoutError:
        pass
    port.coming.append(b"late")
    port.bell.set()
    assert await source.read(4) == b"late"


async def test_the_chip_is_a_source_that_says_what_it_is() -> None:
    source = open_source("os")
    assert (source.kind, source.min_entropy) == (SOURCE_OPERATING_SYSTEM, 1.0)
    assert len(await source.read(100)) == 100
    assert await source.read(32) != await source.read(32)
    await source.close()


def test_a_source_is_chosen_by_its_name() -> None:
    source = open_source("uart:1")
    assert (source.kind, source.model, source.min_entropy) == (SOURCE_QUANTUM, "serial 1", 0.8)
    source = open_source("uart:2#baud=9600,min-entropy=0.95,framed=1")
    assert (source._baud, source.min_entropy, source._framed) == (9600, 0.95, True)


def test_a_name_that_is_none_is_refused() -> None:
    for spec in (
        "",
        "uart",
        "uart:",
        "os:1",
        "os#baud=1",
        "/dev/hwrng",
        "uart:1#baud=x",
        "uart:1#baud=0",
        "uart:1#min-entropy=0.4",
        "uart:1#min-entropy=1.1",
        "uart:1#min-entropy=nan",
        "uart:1#framed=yes",
        "uart:1#speed=1",
    ):
        refused(LocalError, open_source, spec)


async def test_a_machine_without_that_uart_says_so() -> None:
    assert "no UART" in await failed(SerialSource("1"))
    refused(LocalError, lambda: SerialSource("x").read(1).send(None))


async def test_the_uart_of_a_board_is_opened_with_its_number_and_speed() -> None:
    made = []

    class UART:
        def __init__(self, number: int, **settings: "object") -> None:
            if number > 2:
                raise ValueError("UART(%d) does not exist" % number)
            if "rxbuf" in settings and number == 2:
                raise TypeError
            made.append((number, settings))
            self._waiting = 2

        def any(self) -> int:
            return self._waiting

        def read(self, length: int) -> bytes:
            self._waiting -= 1
            return b"x"

        def deinit(self) -> None:
            made.append("off")

    class Machine:
        pass

    machine = Machine()
    machine.UART = UART
    before = sys.modules.get("machine")
    sys.modules["machine"] = machine
    try:
        from handfast_micropython.serial_port import SerialPort

        port = SerialPort("1", 9600)
        port.discard()
        assert port._uart.any() == 0
        port.close()
        SerialPort("2", 115200)
        assert "does not exist" in await failed(SerialSource("3"))
    finally:
        sys.modules.pop("machine")
        if before is not None:
            sys.modules["machine"] = before
    assert made == [
        (1, {"baudrate": 9600, "timeout": 0, "rxbuf": 1024}),
        "off",
        (2, {"baudrate": 115200, "timeout": 0}),
    ]
