"""Records on their way into the registry, and what becomes of them while it cannot take any.

Every record is worked on in a task of its own. When the database is locked, full or read-only, the
records are held in the order in which they came and none is acknowledged; the first one is tried
again every RETRY_SECONDS, and once it got through the others follow. So nothing is lost, and the
broker stops bringing more when as much is held as it may leave unacknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable
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
    """Runs `work` for each arrival and acknowledges it after that. Error from `work` means that the
    database failed."""

    def __init__(self, work: Callable[[Arrival], Awaitable[None]]) -> None:
        self._work = work
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[Arrival] = []
        self._recovery: asyncio.Task[None] | None = None
        self._closed = False

    def take(self, device_id: bytes, channel: int, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """Work on a payload as soon as that is possible; after `close` it is left to the next process."""
        arrival = Arrival(next(self._numbers), device_id, channel, payload, acknowledge)
        if self._closed:
            return
        if self._recovery is None:
            self._begin(arrival)
        else:
            self._held.append(arrival)

    async def close(self) -> None:
        """Finish what is under way and leave what is held unacknowledged; may be called twice."""
        self._closed = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
        await self._land()

    def _begin(self, arrival: Arrival) -> None:
        task = asyncio.create_task(self._first_try(arrival))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _first_try(self, arrival: Arrival) -> None:
        # An earlier record may have failed since this task was made: it must not be passed, for on
        # some channels the hub takes nothing that is behind what it took.
        if self._recovery is None:
            await self._try(arrival)
        else:
            self._held.append(arrival)

    async def _try(self, arrival: Arrival) -> bool:
        """Whether there is nothing more to do for it."""
        try:
            await self._work(arrival)
        except Error as error:
            self._held.append(arrival)
            if self._recovery is None and not self._closed:
                _LOG.error("records wait for the database", reason=error.detail)
                self._recovery = asyncio.create_task(self._recover())
            return False
        except Exception:
            # Brought again it would fail again, so it must not stay with the broker.
            _LOG.exception("a record made the hub fail and is dropped", device=arrival.device_id.hex())
        arrival.acknowledge()
        return True

    async def _recover(self) -> None:
        """Try again in the order of arrival, when nothing is under way that came before."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            await self._land()
            self._held.sort()
            if await self._try(self._held.pop(0)):
                break
        _LOG.warning("the database is back", records=len(self._held) + 1)
        held, self._held = sorted(self._held), []
        self._recovery = None
        for arrival in held:
            self._begin(arrival)

    async def _land(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
