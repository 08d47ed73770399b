"""The devices that are in memory, each with its ring of keys.

A ring is read once and then moved forward here; the registry follows. It must never be there twice,
or two records would get one nonce. So a ring that was forgotten seals nothing more, and it is read
again only when every transaction begun with the one before has ended. What comes while a ring is
read waits in a queue, and nothing overtakes it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from handfast.core import hub_session
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast.ports import Clock
from handfast_hub.arrivals import Arrival
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

    `queue`: what came before that. `committed`: attempt and epoch under which the hub may seal.
    `confirmed`: a record of it was committed since this hub started. `stale`: the registry knows
    better. `begun`: transactions with what this ring gave that have not ended. `unanswered`: commands
    that were sent in the present epoch, by (epoch, PIV); None until the registry was asked for those of
    an earlier process. `held`: others wait until some of them are answered.
    """

    __slots__ = (
        "begun",
        "committed",
        "confirmed",
        "ended",
        "held",
        "id",
        "known",
        "label",
        "loading",
        "lock",
        "owed",
        "queue",
        "ring",
        "stale",
        "unanswered",
    )

    def __init__(self, device_id: bytes) -> None:
        self.id = device_id
        self.loading: asyncio.Task[None] | None = None
        self.queue: list[Arrival] = []
        self.known = False
        self.ring = hub_session.empty(device_id)
        self.label = ""
        self.committed: tuple[bytes, int] | None = None
        self.confirmed = False
        self.stale = False
        self.begun = 0
        # For who waits until `begun` is 0.
        self.ended: asyncio.Event | None = None
        # Held by whoever seals for this device.
        self.lock = asyncio.Lock()
        self.unanswered: dict[tuple[int, int], Unanswered] | None = None
        self.held = False
        self.owed: bytes | None = None

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

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        keys: KeyCache,
        ready: Callable[[Device, Exception | None], None],
        limit: int = RINGS_LIMIT,
    ) -> None:
        """`ready(device, None)` is called when a device was read, with an error when it could not be;
        it must empty the queue of the device."""
        self._registry = registry
        self._clock = clock
        self._keys = keys
        self._ready = ready
        self._limit = limit
        self._devices: OrderedDict[bytes, Device] = OrderedDict()

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, device_id: bytes) -> Device | None:
        """A device that is in memory and may be used."""
        device = self._devices.get(device_id)
        return None if device is None or device.stale or device.loading is not None else device

    def enter(self, device_id: bytes) -> Device:
        """The device for a record that came; while it is `loading`, the record belongs into its queue."""
        device = self._devices.get(device_id)
        if device is None or (device.stale and device.loading is None):
            before = device
            device = self._devices[device_id] = Device(device_id)
            device.loading = asyncio.create_task(self._load(device, before))
            self._evict()
        self._devices.move_to_end(device_id)
        return device

    def forget(self, device_id: bytes) -> None:
        """The registry knows better: read the device anew when something comes of it."""
        device = self._devices.get(device_id)
        if device is not None:
            device.stale = True
            if device.loading is None and not device.begun:
                del self._devices[device_id]
        self._keys.forget(device_id)

    def begin(self, device: Device) -> None:
        """A transaction with what the ring of `device` gave begins; `end` must follow."""
        device.begun += 1

    def end(self, device: Device) -> None:
        """It has ended, well or not."""
        device.begun -= 1
        if device.stale and not device.begun:
            self._remove(device)
            if device.ended is not None:
                device.ended.set()

    async def close(self) -> None:
        """Wait for what is being read."""
        reading = [device.loading for device in self._devices.values() if device.loading is not None]
        await asyncio.gather(*reading, return_exceptions=True)

    async def _load(self, device: Device, before: Device | None) -> None:
        failure: Exception | None = None
        try:
            if before is not None and before.begun:
                before.ended = asyncio.Event()
                await before.ended.wait()
            await self._read(device)
        except Exception as error:
            # Ours or not: whoever waits for this device must not wait for ever.
            failure = error
        device.loading = None
        if failure is not None or not device.known or device.keyless:
            self._remove(device)
        self._ready(device, failure)

    async def _read(self, device: Device) -> None:
        stored = await self._registry.load(device.id, self._clock.now())
        while device.stale:
            # It was forgotten meanwhile, so what was read may be what it was before.
            device.stale = False
            stored = await self._registry.load(device.id, self._clock.now())
        if stored is not None:
            device.known = True
            device.ring = stored.ring
            device.label = stored.label
            device.commit(stored.ring)

    def _remove(self, device: Device) -> None:
        if self._devices.get(device.id) is device:
            del self._devices[device.id]

    def _evict(self) -> None:
        """Forget the devices that were silent longest, but none that somebody is at work with."""
        for _ in range(min(8, len(self._devices) - self._limit)):
            device = next(iter(self._devices.values()))
            if device.loading is None and not device.begun and not device.lock.locked():
                self.forget(device.id)
            else:
                self._devices.move_to_end(device.id)
