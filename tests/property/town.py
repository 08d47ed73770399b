"""A town of devices: real lives, the real hub with its registry, and a network that a test owns.

    with Town() as town:
        town.run(town.start())

What stands in: time is a FakeClock, a flash is a dict whose power goes at a write, and the broker is the
Post, which carries a payload when the test says so. Nothing else is simulated, and no process is killed: a
hub that is killed here commits what it is at, says nothing of it any more and takes no acknowledgement.
"""

import asyncio
import atexit
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from property.lives import Life
from property.post import Letter, Post

from handfast.core import hub_session, topics
from handfast.core.codes import encode_hub_code, encode_token
from handfast.core.errors import Error, PeerError
from handfast.core.key_cache import KeyCache
from handfast.testing import FakeClock
from handfast_cpython.crypto import Crypto
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.tokens import NewTokens

CRYPTO = Crypto()
CONFIGURATION = 'name = "town"\nlinger_seconds = 0\n[log]\nlevel = "error"\n'


class Watched:
    """The machine's crypto for everybody; fails when one key and nonce seal two things."""

    def __init__(self) -> None:
        self.reused: list[bytes] = []
        self._sealed: dict[bytes, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(CRYPTO, name)

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        ciphertext = CRYPTO.seal(algorithm, key, nonce, aad, plaintext)
        if self._sealed.setdefault(key + nonce, ciphertext) != ciphertext:
            self.reused.append(nonce)
        return ciphertext


@cache
def _empty_town() -> Path:
    """The folder of a hub that nobody has ever spoken to; made once, copied for each town."""
    folder = Path(tempfile.mkdtemp(prefix="handfast-town-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "hub.toml").write_text(CONFIGURATION)
    create_hub(load_config(folder / "hub.toml"), CRYPTO)
    return folder


class Town:
    """A hub, a post and a few lives. Everything happens inside `run`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="handfast-lives-"))
        shutil.copytree(_empty_town(), self.folder, dirs_exist_ok=True)
        self.crypto = Watched()
        self.clock = FakeClock()
        self.post = Post(self.clock)
        self.clock.busy.append(self._hub_works)
        self.hub: Hub | None = None
        self.lives: list[Life] = []
        self.code = ""
        self.commands = 0
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let `work` happen, and everything that follows without time passing."""

        async def whole() -> Any:
            result = await work
            await self.clock.settle()
            for life in self.lives:
                await life.revive()
            await self.clock.settle()
            return result

        return self._loop.run_until_complete(whole())

    def _hub_works(self) -> bool:
        hub = self.hub
        return hub is not None and bool(hub._traffic._tasks or hub._sessions._deciding)

    async def start(self, sharing: int, others: int) -> None:
        """A hub; `sharing` devices with one token for one of them, `others` that wait for an operator."""
        await self.start_hub()
        assert self.hub is not None
        self.code = encode_hub_code(CRYPTO, self.hub.hub_id)
        now = time.time()
        (token,) = await self.hub.operator.mint(NewTokens("town", 1, False, 1, now + 3600, now))
        text = encode_token(CRYPTO, token)
        self.lives = [Life(self, number, text) for number in range(sharing)]
        self.lives += [Life(self, sharing + number, None) for number in range(others)]
        for life in self.lives:
            await life.boot()

    async def start_hub(self) -> None:
        """A new process over the same database."""
        config = load_config(self.folder / "hub.toml")
        hub = Hub(config, transport=self.post, crypto=self.crypto, clock=self.clock)  # type: ignore[arg-type]
        await hub.start()
        self.hub = hub

    async def stop_hub(self, kill: bool) -> None:
        """End the process; a killed one says nothing of what it is at."""
        hub = self.hub
        if hub is None:
            return
        self.post.mute = kill
        await hub.close()
        self.hub = None
        self.post.mute = False

    async def bring_up(self, letter: Letter, keep: bool = False) -> None:
        """One payload to the hub, which takes a reading when its keys on the disk open it."""
        reading = await self._opens(letter)
        self.post.bring_up(letter, keep)
        await self.clock.settle()
        if reading is not None and not self.post.mute:
            assert self.readings()[reading] == 1, "a reading was acknowledged and not kept"

    async def bring_down(self, letter: Letter, keep: bool = False) -> None:
        """One payload to whoever listens."""
        self.post.bring_down(letter, keep)
        await self.clock.settle()

    async def carry(self, count: int) -> None:
        """The broker does its duty: `count` payloads each way, in their order."""
        for _ in range(count):
            if self.post.up:
                await self.bring_up(self.post.up[0])
            if self.post.down:
                await self.bring_down(self.post.down[0])

    async def _opens(self, letter: Letter) -> bytes | None:
        """The reading in this payload, if the hub can open it now."""
        topic = topics.parse(letter[0])
        if self.hub is None or topic.channel != topics.TELEMETRY:
            return None
        stored = await self.hub._registry.load(topic.device_id, self.clock.now())
        if stored is None:
            return None
        with suppress(PeerError):
            ring, now = stored.ring, self.clock.now()
            return hub_session.open_record(KeyCache(CRYPTO), ring, topic.channel, letter[1], now).plaintext
        return None

    async def command(self, life: Life) -> None:
        """Something to do, unlike every other one, for a device that is onboard."""
        if self.hub is None or life.device is None or life.device.device_id is None:
            return
        self.commands += 1
        now = time.time()
        data = b"command %d" % self.commands
        with suppress(Error):
            await self.hub.operator.command(NewCommand(life.device.device_id, data, now + 3600, now))
            self.hub._traffic.notify(life.device.device_id)

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What the database says, seen from outside."""
        connection = sqlite3.connect(self.folder / "hub.sqlite")
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def readings(self) -> Counter[bytes]:
        """Every reading that was ever committed."""
        return Counter(data for (data,) in self.rows("SELECT data FROM readings"))

    def state(self, life: Life) -> str | None:
        """What the registry says of a device."""
        found = self.rows("SELECT state FROM devices WHERE thumbprint = ?", life.thumbprint)
        return found[0][0] if found else None

    def close(self) -> None:
        """Everybody leaves."""

        async def leave() -> None:
            for life in self.lives:
                await life.cut()
            await self.stop_hub(False)
            await asyncio.sleep(0)

        self._loop.run_until_complete(leave())
        self._loop.close()
        shutil.rmtree(self.folder)
