"""Records on their way into the registry, and what becomes of them while it cannot take any.

When the database is locked, full or read-only, records are held in the order in which they came and
none is acknowledged; all are tried again every RETRY_SECONDS, in that order, until they get through.
So nothing is lost, nothing overtakes, and the broker stops bringing more when as much is held as it
may leave unacknowledged.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import structlog

from handfast.core.errors import Error

_LOG = structlog.get_logger("handfast.hub.arrivals")

RETRY_SECONDS = 1.0


class Arrival(NamedTuple):
    """One payload on a device's topic; `number` is its place in the order of arrival."""

    number: int
    device_id: bytes
    channel: int
    payload: bytes
    acknowledge: Callable[[], None]


class Arrivals:
    """Hands arrivals to `begin` in their order. For each of them `done` or `failed` is called once."""

    def __init__(self, begin: Callable[[Arrival], None]) -> None:
        self._begin = begin
        self._numbers = count()
        self._begun = 0
        self._ended = asyncio.Event()
        self._held: list[Arrival] = []
        self._failures = 0
        self._recovery: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def held(self) -> int:
        """How many wait for the database."""
        return len(self._held)

    def take(self, device_id: bytes, channel: int, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """Begin with a payload as soon as that is possible; after `close` it is left to the next process."""
        arrival = Arrival(next(self._numbers), device_id, channel, payload, acknowledge)
        if self._recovery is not None:
            self._held.append(arrival)
        elif not self._closed:
            self._start(arrival)

    def done(self, arrival: Arrival) -> None:
        """There is nothing more to do for it: it was committed, or will never be."""
        arrival.acknowledge()
        self._end()

    def failed(self, arrival: Arrival, error: Error) -> None:
        """The database did not do its work."""
        self._held.append(arrival)
        self._failures += 1
        if self._recovery is None and not self._closed:
            _LOG.error("records wait for the database", reason=error.detail)
            self._recovery = asyncio.create_task(self._recover())
        self._end()

    async def close(self) -> None:
        """Finish what was begun and leave the rest unacknowledged; may be called twice."""
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        await self._land()

    def _start(self, arrival: Arrival) -> None:
        self._begun += 1
        self._begin(arrival)

    def _end(self) -> None:
        self._begun -= 1
        if not self._begun:
            self._ended.set()

    async def _land(self) -> None:
        while self._begun:
            self._ended.clear()
            await self._ended.wait()

    async def _recover(self) -> None:
        """Nothing is begun meanwhile but what is held, when all that came before has ended."""
        self._failures = 1
        while self._failures:
            await asyncio.sleep(RETRY_SECONDS)
            await self._land()
            held, self._held = sorted(self._held), []
            self._failures = 0
            for arrival in held:
                self._start(arrival)
            await self._land()
        _LOG.warning("the database is back")
        held, self._held = self._held, []
        self._recovery = None
        for arrival in held:
            self._start(arrival)
