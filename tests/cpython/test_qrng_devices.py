"""Quantum sources on this machine: the operating system, character devices, serial modules."""

import asyncio
import os
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from handfast.core.errors import EntropyError
from handfast_cpython.qrng_device import DeviceSource, SystemSource
from handfast_cpython.qrng_serial import SerialSource


async def test_the_operating_system_gives_what_is_asked_for() -> None:
    source = SystemSource()
    assert len(await source.read(64)) == 64
    await source.close()
    await source.close()


async def test_the_kernels_devices_are_not_called_quantum() -> None:
    source = DeviceSource("/dev/urandom")
    assert source.kind == 2
    assert len(await source.read(100)) == 100
    await source.close()
    assert DeviceSource("/dev/hwrng").kind == 2


class Terminal(NamedTuple):
    """A pseudo terminal: what is written to `wire` is what a device sends."""

    wire: int
    path: str


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    wire, device = os.openpty()
    tty.setraw(device)
    yield Terminal(wire, os.ttyname(device))
    for descriptor in (wire, device):
        try:
            os.close(descriptor)
        except OSError:
            pass


async def test_a_character_device_is_read_as_its_bytes_come(terminal: Terminal) -> None:
    source = DeviceSource(terminal.path)
    assert source.kind == 1
    os.write(terminal.wire, b"\x00\x03\x11\x13\x7f\xff")
    assert await source.read(4) == b"\x00\x03\x11\x13"
    assert await source.read(64) == b"\x7f\xff"
    waiting = asyncio.ensure_future(source.read(64))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.write(terminal.wire, b"later")
    assert await waiting == b"later"
    await source.close()
    await source.close()


async def test_a_silent_device_can_be_given_up_and_read_later(terminal: Terminal) -> None:
    source = DeviceSource(terminal.path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(source.read(64), 0.05)
    os.write(terminal.wire, b"here")
    assert await source.read(64) == b"here"
    await source.close()


async def test_a_device_that_goes_away_is_an_entropy_error() -> None:
    wire, device = os.openpty()
    tty.setraw(device)
    source = DeviceSource(os.ttyname(device))
    os.write(wire, b"x")
    assert await source.read(1) == b"x"
    os.close(device)
    os.close(wire)
    with pytest.raises(EntropyError, match="plugged in"):
        await source.read(1)
    with pytest.raises(EntropyError, match="No such file.*plugged in"):
        await source.read(1)


@pytest.mark.parametrize("form", ["file", "pipe", "directory", "nothing"])
async def test_what_is_no_character_device_gives_no_entropy(tmp_path: Path, form: str) -> None:
    path = tmp_path / "source"
    if form == "file":
        path.write_bytes(os.urandom(4096))
    elif form == "pipe":
        os.mkfifo(path)
    elif form == "directory":
        path.mkdir()
    source = DeviceSource(str(path))
    with pytest.raises(EntropyError, match="not a character device|No such file"):
        await source.read(64)
    await source.close()


async def test_a_serial_module_is_read_and_stale_bytes_are_dropped(terminal: Terminal) -> None:
    os.write(terminal.wire, b"stale bytes that waited in the port")
    source = SerialSource(terminal.path)
    raw = await first_bytes(source, terminal.wire)
    assert set(raw) <= set(b"fresh")
    while not (await source.read(64)).endswith(b"h"):
        pass
    os.write(terminal.wire, b"\x11\x13\x00")
    sent = b""
    while len(sent) < 3:
        sent += await source.read(2)
    assert sent == b"\x11\x13\x00"
    await source.close()
    await source.close()


async def first_bytes(source: SerialSource, wire: int) -> bytes:
    """Until the port is open and emptied, what is sent is dropped: send again until something comes."""
    reading = asyncio.ensure_future(source.read(1))
    while not reading.done():
        os.write(wire, b"fresh")
        await asyncio.wait([reading], timeout=0.05)
    return await reading


async def test_a_serial_port_that_is_not_there_is_an_entropy_error() -> None:
    source = SerialSource("/dev/tty-that-is-not-there")
    with pytest.raises(EntropyError, match="plugged in, and may this user open the port"):
        await source.read(1)


async def test_a_serial_module_that_is_pulled_out_is_an_entropy_error() -> None:
    wire, device = os.openpty()
    tty.setraw(device)
    source = SerialSource(os.ttyname(device))
    await first_bytes(source, wire)
    os.close(device)
    os.close(wire)
    with pytest.raises(EntropyError, match="plugged in"):
        while True:
            await source.read(64)
    await source.close()
