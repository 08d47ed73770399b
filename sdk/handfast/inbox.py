"""Waiting for a link and for a time at once, with what both interpreters have."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Clock, Link

# Payloads that wait here before reading stops; a link has a bound of its own behind it.
LENGTH = 32


class Inbox:
    """Reads a connected link in a task of its own; `wait` gives what came.

    A cancelled `receive` may lose a payload, so nothing ever cancels one but `close`.
    """

    def __init__(self, link: "Link", clock: "Clock") -> None:
        self._link = link
        self._clock = clock
        self._items: "list[tuple[int | None, bytes]]" = []
        self._failure: "Exception | None" = None
        self._bell = asyncio.Event()
        self._space = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self._items.append(await self._link.receive())
                self._bell.set()
                while len(self._items) >= LENGTH:
                    self._space.clear()
                    await self._space.wait()
        except Exception as error:
            # Ours or not: whoever waits hears it.
            self._failure = error
            self._bell.set()

    def ring(self) -> None:
        """End the present wait, or the next one, with None."""
        self._bell.set()

    async def wait(self, until: "float | None") -> "tuple[int | None, bytes] | None":
        """The next payload; None at the time `until` or when rung. LinkError when the link broke."""
        if not self._items and self._failure is None and not self._bell.is_set():
            alarm = None
            if until is not None:
                alarm = asyncio.create_task(self._ring_at(until))
            try:
                await self._bell.wait()
            finally:
                if alarm is not None:
                    alarm.cancel()
        self._bell.clear()
        if self._items:
            self._space.set()
            item = self._items.pop(0)
            if self._items:
                self._bell.set()
            return item
        if self._failure is not None:
            raise self._failure
        return None

    async def _ring_at(self, until: float) -> None:
        await self._clock.sleep(max(0.0, until - self._clock.now()))
        self._bell.set()

    def close(self) -> None:
        """Stop reading. The link itself stays open."""
        self._reader.cancel()
