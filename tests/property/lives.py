"""Whole lives of devices: the real Device over all its boots, and a flash whose power goes at a write.

The flash is a dict. Nothing else of a device is simulated.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import handfast.identity as identity
from handfast.core.errors import Error, RefusedError
from handfast.device import Device
from handfast.settings import Settings
from handfast.testing import MemoryHost, MemoryKeystore, MemoryLink

if TYPE_CHECKING:
    from property.town import Town

SETTINGS = Settings(retry=(1.0, 8.0))


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
