"""Whole lives of devices: the real Device and the real hub with its registry, and a network that a test owns.

    with Town() as town:
        town.run(town.start())

What stands in: time is a FakeClock, a flash is a dict whose power goes at a write, and the broker is the
Post, which carries a payload when the test says so. Nothing else is simulated, and no process is killed: a
hub that is killed here commits what it is at, says nothing of it any more and takes no acknowledgement.
"""

import asyncio
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import handfast.identity as identity
from handfast.core import hub_session, messages, topics
from handfast.core.codes import encode_hub_code, encode_token
from handfast.core.errors import Error, PeerError, RefusedError
from handfast.core.key_cache import KeyCache
from handfast.device import Device
from handfast.settings import Settings
from handfast.testing import FakeClock, MemoryBroker, MemoryHost, MemoryKeystore, MemoryLink
from handfast_cpython.crypto import Crypto
from handfast_hub.config import load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.tokens import NewTokens

CRYPTO = Crypto()
CONFIGURATION = 'name = "town"\nlinger_seconds = 0\n[log]\nlevel = "error"\n'
# Payloads that the Post keeps in each direction; the oldest are lost.
KEPT = 16
SETTINGS = Settings(retry=(1.0, 8.0))

Letter = tuple[str, bytes]


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


class Post(MemoryBroker):
    """A broker in memory that carries only what it is told to carry."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.up: list[Letter] = []
        self.down: list[Letter] = []
        # The newest that came to the hub, and to devices.
        self.passed_up: list[Letter] = []
        self.passed_down: list[Letter] = []
        self.mute = False
        # What was answered on each chan in the place of message_4.
        self.answers: dict[str, set[bytes]] = {}

    @property
    def hub_listens(self) -> bool:
        return self._on_publish is not None

    def publish(self, topic: str, payload: bytes) -> None:
        """The hub's; lost when its process is dying."""
        self._count()
        if self.mute:
            return
        with suppress(PeerError):
            if "/dev/" not in topic and len(payload) <= 1024 and messages.decode_frame(payload).message:
                self.answers.setdefault(topic, set()).add(payload)
        self.down = [*self.down, (topic, payload)][-KEPT:]

    def carry(self, topic: str, payload: bytes) -> None:
        """A device's."""
        self._count()
        self.up = [*self.up, (topic, payload)][-KEPT:]

    def bring_up(self, letter: Letter, keep: bool = False) -> None:
        """To the hub; it leaves the post when the hub has acknowledged it, unless a copy is kept."""
        if self._on_publish is None:
            return
        self.waiting += 1
        self.passed_up = [*self.passed_up, letter][-KEPT:]
        acknowledged: list[bool] = []

        def acknowledge() -> None:
            if acknowledged:
                return
            acknowledged.append(True)
            self.waiting -= 1
            if not keep and not self.mute and letter in self.up:
                self.up.remove(letter)

        self._on_publish(letter[0], letter[1], acknowledge)

    def bring_down(self, letter: Letter, keep: bool = False) -> None:
        """To whoever listens there."""
        self.passed_down = [*self.passed_down, letter][-KEPT:]
        if not keep:
            self.down.remove(letter)
        self._count()
        for link in list(self._links.values()):
            link.offer(*letter)

    async def close(self) -> None:
        """The hub is gone; what it did not acknowledge stays here."""
        await super().close()
        self.waiting = 0


class PowerCut(Exception):
    """The power goes."""


class Flash(MemoryKeystore):
    """A keystore whose power goes at a write, before or after the bytes are down; then it takes none."""

    def __init__(self, values: dict[str, bytes]) -> None:
        super().__init__(values)
        self.dark = False
        self._left: int | None = None
        self._after = False

    def arm(self, writes: int, after: bool) -> None:
        """Let the power go at write number `writes` from now, 1 is the next."""
        self._left, self._after = writes, after

    def disarm(self) -> None:
        """Let the power stay."""
        self._left = None

    def save(self, name: str, value: bytes) -> None:
        self._write(lambda: super(Flash, self).save(name, value))

    def erase(self, name: str) -> None:
        self._write(lambda: super(Flash, self).erase(name))

    def _write(self, write: Callable[[], None]) -> None:
        if self.dark:
            raise PowerCut
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.dark = True
                if self._after:
                    write()
                raise PowerCut
        write()


class Life:
    """One device over all its boots."""

    def __init__(self, town: "Town", number: int, token: str | None) -> None:
        self.number = number
        self.values: dict[str, bytes] = {}
        self.heard: list[bytes] = []
        self.refusals = 0
        self.device: Device | None = None
        self.flash = Flash(self.values)
        self._town = town
        self._token = token
        self._boots = 0
        self._sent = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def thumbprint(self) -> bytes | None:
        """Once it has an identity."""
        return None if self.device is None else self.device.thumbprint

    @property
    def stopped(self) -> bool:
        """It was refused, and waits for somebody to ask again."""
        return self._task is not None and self._task.done()

    async def boot(self, retry: bool = False) -> None:
        """Start, over what is in the flash."""
        await self.cut()
        self._boots += 1
        self.flash = Flash(self.values)
        self._task = asyncio.create_task(self._live(retry))

    async def cut(self) -> None:
        """Power off, now."""
        self.flash.dark = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.device is not None:
            await self.device.close()
            self.device = None

    async def revive(self) -> None:
        """Boot again when the power went at a write."""
        if self.flash.dark:
            await self.boot()

    async def send(self) -> bytes | None:
        """A reading unlike every other one; None when the device cannot send now."""
        self._sent += 1
        data = b"%d: reading %d" % (self.number, self._sent)
        try:
            if self.device is None:
                return None
            await self.device.send(data)
        except Error:
            return None
        return data

    async def _live(self, retry: bool) -> None:
        town, seed = self._town, b"life %d boot %d" % (self.number, self._boots)
        host = MemoryHost(town.crypto, town.clock, seed, self.flash)
        try:
            if self.flash.load(identity.IDENTITY) is None:
                name = f"life {self.number}"
                await identity.create(host, SETTINGS.signature, name, town.code, self._token)
            self.device = device = Device(host, MemoryLink(town.post), SETTINGS)
            await device.onboard(retry)
            async for message in device.messages():
                if message.channel == "command":
                    self.heard.append(message.data)
                    await message.reply(b"done")
        except RefusedError:
            self.refusals += 1
        except PowerCut:
            self.flash.dark = True


@cache
def _empty_town() -> Path:
    """The folder of a hub that nobody has ever spoken to; made once, copied for each town."""
    folder = Path(tempfile.mkdtemp(prefix="handfast-town-"))
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
