"""The devices that are in memory, each with its ring of keys.

A ring is read once and then moved forward here; the registry follows. It must never be there twice,
or two records would get one nonce. So a ring that was forgotten seals nothing more, and it is read
again only when every transaction begun with the one before has ended.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from handfast.core import hub_session
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast.ports import Clock
from handfast_hub.registry.registry import Registry

# Devices in memory; the one that was silent longest goes first.
RINGS_LIMIT = 100_000


class Unanswered(NamedTuple):
    """A command that was sent: its record, when it last left and until when it is worth anything."""

    record: bytes
    at: float
    expires_at: float


class Device:
    """A device in memory. `known`, `ring` and `label` are what the registry said, once `loading` is None.

    `committed`: attempt and epoch under which the hub may seal. `confirmed`: a record of it was
    committed since this hub started. `stale`: the registry knows better. `begun`: transactions with
    what this ring gave that have not ended; `ended` is for who waits until there are none.
    `unanswered`: commands by (epoch, PIV), None most of the time.
    """

    __slots__ = (
        "begun",
        "committed",
        "confirmed",
        "ended",
        "id",
        "known",
        "label",
        "loading",
        "lock",
        "ring",
        "stale",
        "unanswered",
    )

    def __init__(self, device_id: bytes) -> None:
        self.id = device_id
        self.loading: asyncio.Task[None] | None = None
        self.known = False
        self.ring = hub_session.empty(device_id)
        self.label = ""
        self.committed: tuple[bytes, int] | None = None
        self.confirmed = False
        self.stale = False
        self.begun = 0
        self.ended: asyncio.Event | None = None
        # Held by whoever seals for this device.
        self.lock = asyncio.Lock()
        self.unanswered: dict[tuple[int, int], Unanswered] | None = None

    def commit(self, ring: Ring) -> None:
        """`ring` is in the registry: the hub may seal under its active key."""
        self.committed = None if ring.active is None else (ring.active.attempt, ring.active.epoch)

    @property
    def sealable(self) -> bool:
        """Whether the hub may seal for it now."""
        key = self.ring.active
        return not self.stale and key is not None and self.committed == (key.attempt, key.epoch)

    @property
    def keyless(self) -> bool:
        """It was shut out, or never had a key."""
        return self.ring.active is None and not self.ring.pendings


class Rings:
    """The devices in memory, by device_id."""

    def __init__(self, registry: Registry, clock: Clock, keys: KeyCache, limit: int = RINGS_LIMIT) -> None:
        self._registry = registry
        self._clock = clock
        self._keys = keys
        self._limit = limit
        self._devices: OrderedDict[bytes, Device] = OrderedDict()

    def find(self, device_id: bytes) -> Device | None:
        """A device that is in memory."""
        return self._devices.get(device_id)

    def forget(self, device_id: bytes) -> None:
        """The registry knows better: read the device anew when it is asked for."""
        device = self._devices.get(device_id)
        if device is not None:
            device.stale = True
            if not device.begun:
                del self._devices[device_id]
        self._keys.forget(device_id)

    async def load(self, device_id: bytes) -> Device | None:
        """The device with its newest ring, None when there is none; Error when the database failed."""
        while True:
            device = self._devices.get(device_id)
            if device is None:
                device = self._devices[device_id] = Device(device_id)
                device.loading = asyncio.create_task(self._read(device))
                self._evict()
            if device.loading is not None:
                await asyncio.shield(device.loading)
            if device.stale:
                if device.begun:
                    device.ended = device.ended or asyncio.Event()
                    await device.ended.wait()
                continue
            if device.known:
                self._devices.move_to_end(device_id)
                return device
            self.forget(device_id)
            return None

    def begin(self, device: Device) -> None:
        """A transaction with what the ring of `device` gave begins; `end` must follow."""
        device.begun += 1

    def end(self, device: Device) -> None:
        """It has ended, well or not."""
        device.begun -= 1
        if device.stale and not device.begun:
            if self._devices.get(device.id) is device:
                del self._devices[device.id]
            if device.ended is not None:
                device.ended.set()

    async def _read(self, device: Device) -> None:
        stored = await self._registry.load(device.id, self._clock.now())
        if stored is not None:
            device.known = True
            device.ring = stored.ring
            device.label = stored.label
            device.commit(stored.ring)
        device.loading = None

    def _evict(self) -> None:
        """Forget the devices that were silent longest, but none that somebody is at work with."""
        for _ in range(min(8, len(self._devices) - self._limit)):
            device = next(iter(self._devices.values()))
            if device.loading is None and not device.begun and not device.lock.locked():
                self.forget(device.id)
            else:
                self._devices.move_to_end(device.id)
