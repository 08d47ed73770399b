"""A bad network around any link: loss, duplication, reordering and delay, by a seed."""

import asyncio

from handfast.core.errors import LinkClosed, LinkError, LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.topics import Endpoint
    from handfast.ports import Clock, Link


class Dice:
    """Reproducible chance (xorshift32); nothing secret may come from it."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 2654435761 + 88675123) & 0xFFFFFFFF or 1

    def roll(self) -> float:
        """A number from 0 to below 1."""
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return (state >> 8) / 16777216


class LossyLink:
    """A bad network around any Link, in both directions.

    `loss` and `duplicate` are probabilities; `delay` is (shortest, longest) in seconds; `reorder`
    is by how many later payloads one may be overtaken. Made without a link it is a description
    that `over` applies to one.
    """

    # A payload that waits to be overtaken and is not goes out after this many seconds.
    PATIENCE = 0.25

    def __init__(
        self,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: int = 0,
        delay: "tuple[float, float]" = (0.0, 0.0),
        seed: int = 1,
    ) -> None:
        self._conditions = (loss, duplicate, reorder, delay)
        self._seed = seed
        self._dice = Dice(seed)
        self._made = 0
        self._link: "Link | None" = None
        self._clock: "Clock | None" = None
        self._tasks: "list[asyncio.Task[None]]" = []
        self._arrived: "list[tuple[int | None, bytes]]" = []
        self._failure: "Exception | None" = LinkClosed("this link is not connected")
        self._bell = asyncio.Event()

    def over(self, link: "Link", clock: "Clock") -> "LossyLink":
        """The same conditions around `link`, with chances of its own."""
        self._made += 1
        loss, duplicate, reorder, delay = self._conditions
        seed = self._seed * 100003 + self._made
        lossy = LossyLink(loss=loss, duplicate=duplicate, reorder=reorder, delay=delay, seed=seed)
        lossy._link, lossy._clock = link, clock
        return lossy

    async def connect(self, endpoint: "Endpoint") -> None:
        """Connect the link within."""
        await self._stop()
        await self._inner().connect(endpoint)
        self._arrived = []
        self._failure = None
        self._tasks.append(asyncio.create_task(self._read()))

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """Send it perhaps, later, twice, or after others."""
        for wait in self._fate():
            if wait <= 0:
                await self._inner().send(channel, payload)
            else:
                self._later(wait, True, channel, payload)

    async def receive(self) -> "tuple[int | None, bytes]":
        """The next payload that got through."""
        while not self._arrived:
            if self._failure is not None:
                raise self._failure
            self._bell.clear()
            await self._bell.wait()
        return self._arrived.pop(0)

    async def close(self) -> None:
        """Close the link within; what was on its way is lost."""
        await self._stop()
        self._fail(LinkClosed("this link was closed"))
        await self._inner().close()

    def _inner(self) -> "Link":
        if self._link is None:
            raise LocalError("this LossyLink is around no link; use over(link, clock)")
        return self._link

    def _fate(self) -> "list[float]":
        """For each copy that gets through, after how many seconds."""
        loss, duplicate, reorder, delay = self._conditions
        copies = 2 if self._dice.roll() < duplicate else 1
        waits = []
        for _ in range(copies):
            if self._dice.roll() < loss:
                continue
            wait = delay[0] + (delay[1] - delay[0]) * self._dice.roll()
            if reorder:
                wait += self.PATIENCE * int(self._dice.roll() * (reorder + 1)) / reorder
            waits.append(wait)
        return waits

    async def _read(self) -> None:
        while True:
            try:
                item = await self._inner().receive()
            except LinkError as error:
                self._fail(error)
                return
            for wait in self._fate():
                if wait <= 0:
                    self._arrive(item)
                else:
                    self._later(wait, False, item[0], item[1])

    def _fail(self, error: LinkError) -> None:
        self._failure = error
        self._bell.set()

    def _arrive(self, item: "tuple[int | None, bytes]") -> None:
        self._arrived.append(item)
        self._bell.set()

    def _later(self, wait: float, upwards: bool, channel: "int | None", payload: bytes) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._after(wait, upwards, channel, payload)))

    async def _after(self, wait: float, upwards: bool, channel: "int | None", payload: bytes) -> None:
        if self._clock is None:
            raise LocalError("this LossyLink is around no link; use over(link, clock)")
        await self._clock.sleep(wait)
        if not upwards:
            self._arrive((channel, payload))
            return
        try:
            await self._inner().send(channel, payload)
        except LinkError:
            return

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
