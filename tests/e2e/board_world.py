"""A hub behind a real Mosquitto, and boards that live with it, whatever they are made of."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import mosquitto

from handfast.core.base32 import b32encode
from handfast.core.codes import encode_hub_code, encode_token
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.registry.tokens import NewTokens

PATIENCE = 180.0


class Board:
    """One process of MicroPython that has just begun; `lines` are what it has said."""

    def __init__(self, process: "Popen[bytes]") -> None:
        self.lines: list[str] = []
        self.process = process
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").strip())

    async def said(self, beginning: str, begin: int = 0) -> str:
        """What follows `beginning` on a line that the board says, now or soon, from line `begin` on."""
        end = time.monotonic() + PATIENCE
        while True:
            for line in self.lines[begin:]:
                if line.startswith(beginning):
                    return line[len(beginning) :].strip()
            assert time.monotonic() < end and self.process.poll() is None, self.lines
            await asyncio.sleep(0.02)

    async def ended(self) -> list[str]:
        """The last words of a board that ends by itself."""
        await asyncio.to_thread(self.process.wait, PATIENCE)
        self._listener.join(PATIENCE)
        return self.lines

    def cut_power(self) -> None:
        """Kill it at once; may be called twice."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._listener.join(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class World:
    """A hub behind a Mosquitto, both new, and the boards of the test."""

    def __init__(self, folder: Path, suite: int) -> None:
        folder.mkdir()
        (folder / "broker").mkdir()
        self.folder = folder
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
            board.cut_power()
        self._reading.cancel()
        await self.hub.close()
        self.broker.stop()

    async def token(self) -> str:
        """A single token."""
        now = time.time()
        (token,) = await self.hub.operator.mint(NewTokens("test", 1, False, 1, now + 3600, now))
        return encode_token(self.hub.crypto, token)

    def hub_code(self) -> str:
        """What a device is told about the hub."""
        return encode_hub_code(self.hub.crypto, self.hub_id)

    async def heard_from(self, device_id: bytes, begin: int) -> bytes:
        """The first reading of that device, from number `begin` on."""
        end = time.monotonic() + PATIENCE
        while True:
            for sender, data in self.readings[begin:]:
                if sender == device_id:
                    return data
            assert time.monotonic() < end, [board.lines for board in self.boards]
            await asyncio.sleep(0.02)

    async def heard(self, begin: int, wanted: Callable[[bytes], bool]) -> tuple[bytes, bytes]:
        """The first reading that is wanted, from number `begin` on."""
        end = time.monotonic() + PATIENCE
        while True:
            for reading in self.readings[begin:]:
                if wanted(reading[1]):
                    return reading
            assert time.monotonic() < end, [board.lines for board in self.boards]
            await asyncio.sleep(0.02)
