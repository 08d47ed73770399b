"""A board on MicroPython against the real hub, through a real Mosquitto; a power cut is a kill.

The board is the unix port with the ports of a board: its flash is a folder, its quantum module the
simulated photonic source at the other end of a serial line.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import termios
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import mosquitto
import on_micropython
import pytest
from build_unix_port import BuildError, unix_port

from handfast.core.codes import b32encode, encode_hub_code, encode_token
from handfast.core.topics import enrolled, hub_subscriptions
from handfast_cpython.qrng_simulated import SimulatedSource
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.mqtt.ingress import MqttIngress
from handfast_hub.registry.tokens import NewTokens

pytestmark = mosquitto.needs_mosquitto
ROOT = on_micropython.ROOT
PATIENCE = 60.0


class Board:
    """One process of MicroPython; `lines` are what it has said."""

    def __init__(self, program: Path, flash: Path, values: dict[str, object]) -> None:
        script = ROOT / "tests" / "e2e" / "micropython_device.py"
        command = [str(program), "-X", "heapsize=8m", str(script), str(ROOT), str(flash)]
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(values))
        self._process.stdin.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())

    async def said(self, beginning: str) -> str:
        """What follows `beginning` on a line that the board says, now or soon."""
        end = time.monotonic() + PATIENCE
        while True:
            for line in self.lines:
                if line.startswith(beginning):
                    return line[len(beginning) :].strip()
            assert time.monotonic() < end and self._process.poll() is None, self.lines
            await asyncio.sleep(0.02)

    async def ended(self) -> list[str]:
        """The last words of a board that ends by itself."""
        await asyncio.to_thread(self._process.wait, PATIENCE)
        self._listener.join(PATIENCE)
        return self.lines

    def cut_power(self) -> None:
        """Kill it at once."""
        self._process.kill()
        self._process.wait(10)
        self._listener.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class QuantumModule:
    """The simulated photonic source behind a pseudo terminal; it sends unasked, as modules do."""

    def __init__(self) -> None:
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self._far, False)
        source = SimulatedSource(seed=7)
        claim = source.min_entropy
        self.spec = f"uart:{os.ttyname(self._near)}#min-entropy={claim}"
        self._source = source
        self.silent = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        loop = asyncio.new_event_loop()
        raw = b""
        while not self._stop.is_set():
            if self.silent:
                # What waits in the driver was said before.
                termios.tcflush(self._near, termios.TCIFLUSH)
                self._stop.wait(0.01)
                continue
            raw = raw or loop.run_until_complete(self._source.read(64))
            try:
                raw = raw[os.write(self._far, raw) :]
            except BlockingIOError:
                self._stop.wait(0.01)
        loop.close()

    def close(self) -> None:
        """Pull it out."""
        self._stop.set()
        self._thread.join(10)
        os.close(self._far)
        os.close(self._near)


@pytest.fixture(scope="module")
def program() -> Path:
    """The unix port with the words of this machine."""
    own = os.environ.get("MICROPYTHON")
    try:
        return Path(own) if own else unix_port()
    except BuildError as error:
        pytest.skip(f"MicroPython: {error}")


@pytest.fixture
def module() -> Iterator[QuantumModule]:
    source = QuantumModule()
    yield source
    source.close()


class World:
    """A hub behind a Mosquitto, both new, and the boards of the test."""

    def __init__(self, folder: Path, program: Path, suite: int) -> None:
        folder.mkdir()
        (folder / "broker").mkdir()
        self._folder = folder
        self._program = program
        file = folder / "hub.toml"
        top = f'name = "test"\nsuites = [{suite}]\n'
        file.write_text(top, encoding="utf-8")
        self.hub_id = create_hub(load_config(file))
        self.broker = mosquitto.Mosquitto(folder / "broker", b32encode(self.hub_id[:8]))
        (folder / "password").write_text(self.broker.password, encoding="utf-8")
        (folder / "password").chmod(0o600)
        file.write_text(
            f'{top}[mqtt]\nbroker = "external"\nhost = "{self.broker.host}"\n'
            f'port = {self.broker.port}\nusername = "{self.broker.username}"\n'
            f'password_file = "{folder / "password"}"\n[log]\nlevel = "warning"\n',
            encoding="utf-8",
        )
        self.hub = Hub(load_config(file))
        self.readings: list[tuple[bytes, bytes]] = []
        self.boards: list[Board] = []

    async def start(self) -> None:
        """Broker first."""
        self.broker.start()
        await self.hub.start()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for reading in self.hub.readings():
            self.readings.append((reading.device_id, reading.data))

    async def close(self) -> None:
        """Everything stops."""
        for board in self.boards:
            with contextlib.suppress(ValueError):
                board.cut_power()
        self._reading.cancel()
        await self.hub.close()
        self.broker.stop()

    async def token(self) -> str:
        """A single token."""
        now = time.time()
        (token,) = await self.hub.operator.mint(NewTokens("test", 1, False, 1, now + 3600, now))
        return encode_token(self.hub.crypto, token)

    def board(self, **values: object) -> Board:
        """Switch the board on. The first time `values` has its configuration."""
        board = Board(self._program, self._folder / "flash", values)
        self.boards.append(board)
        return board

    async def set_up(self, module: QuantumModule, suite: int = -22) -> Board:
        """A new board with a token of the hub."""
        return self.board(
            hub=encode_hub_code(self.hub.crypto, self.hub_id),
            token=await self.token(),
            broker=self.broker.host,
            port=self.broker.port,
            qrng=module.spec,
            suites=[suite],
            period=1,
        )

    async def heard(self, begin: int, wanted: Callable[[bytes], bool]) -> tuple[bytes, bytes]:
        """The first reading that is wanted, from number `begin` on."""
        end = time.monotonic() + PATIENCE
        while True:
            for reading in self.readings[begin:]:
                if wanted(reading[1]):
                    return reading
            assert time.monotonic() < end, [board.lines for board in self.boards]
            await asyncio.sleep(0.02)


@pytest.fixture
async def world(tmp_path: Path, program: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(tmp_path / "world", program, getattr(request, "param", -22))
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(("world", "suite"), [(-21, -21), (-22, -22), (-24, -24)], indirect=["world"])
async def test_a_board_onboards_sends_obeys_and_resumes_after_a_power_cut(
    world: World, module: QuantumModule, suite: int
) -> None:
    board = await world.set_up(module, suite)
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")
    response = await world.hub.command(device_id, b"blink", expires=PATIENCE)
    assert (response.status, response.data) == (0, b"done: blink")
    board.cut_power()

    begin = len(world.readings)
    again = world.board()
    assert bytes.fromhex(await again.said("onboard as")) == device_id
    assert (await world.heard(begin, lambda data: data == b"reading 1"))[0] == device_id
    response = await world.hub.command(device_id, b"blink twice", expires=PATIENCE)
    assert response.data == b"done: blink twice"
    devices = await world.hub.operator.devices("onboarded")
    assert [device.device_id for device in devices] == [device_id]


async def test_a_board_waits_for_a_broker_that_is_away_and_comes_back_when_it_restarts(
    world: World, module: QuantumModule
) -> None:
    world.broker.stop()
    board = await world.set_up(module)
    await board.said("claim code")
    world.broker.start()
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")
    world.broker.stop()
    begin = len(world.readings)
    world.broker.start()
    assert (await world.heard(begin, lambda data: True))[0] == device_id
    assert len(await world.hub.operator.devices("onboarded")) == 1


async def test_a_quantum_module_that_is_silent_at_boot_is_an_error_until_it_speaks(
    world: World, module: QuantumModule
) -> None:
    board = await world.set_up(module)
    await board.said("claim ")
    board.cut_power()
    module.silent = True
    board = world.board()
    assert "silent for 5 seconds" in await board.said("the quantum source:")
    assert await world.hub.operator.devices("onboarded") == []
    module.silent = False
    device_id = bytes.fromhex(await board.said("onboard as"))
    assert await world.heard(0, lambda data: True) == (device_id, b"reading 1")


async def test_a_revoked_board_stops_and_says_why(world: World, module: QuantumModule) -> None:
    board = await world.set_up(module)
    device_id = bytes.fromhex(await board.said("onboard as"))
    (device,) = await world.hub.operator.devices("onboarded")
    assert device.device_id == device_id
    await world.hub.revoke(device.thumbprint, "lost")
    assert any("RefusedError" in line for line in await board.ended())
    assert any("RefusedError" in line for line in await world.board().ended())


async def test_payloads_of_every_size_pass_mosquitto_both_ways(tmp_path: Path, program: Path) -> None:
    hub_kid, device_id = bytes(8), bytes(range(8))
    script = ROOT / "tests" / "e2e" / "micropython_echo.py"
    with mosquitto.running(tmp_path / "broker", b32encode(hub_kid)) as broker:
        hub = MqttIngress(
            broker.host, broker.port, client_id="hub", username=broker.username, password=broker.password
        )

        def echo(topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
            hub.publish(topic.replace("/up/", "/dn/"), payload)
            acknowledge()

        await hub.start(hub_subscriptions(hub_kid), echo)
        arguments = [str(ROOT), broker.host, str(broker.port), *enrolled(hub_kid, device_id)[:3]]
        command = [str(program), str(script), *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        await hub.close()
    assert done.stdout.strip().splitlines()[-1:] == ["echoed 0 1 127 128 1000 16384 65000"], done
