"""Time that a test moves by hand."""

import asyncio

from handfast.core.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How many turns of the event loop without anything happening count as quiet.
QUIET_TURNS = 20
# While a thread of the program works (`busy`), the loop may rest for this long between looks.
REST = 0.0005
# And so often in a row at most, half a minute and more; then something is stuck.
MAX_RESTS = 60_000


class FakeClock:
    """Time that passes only in `advance`. `busy` functions say whether somebody still works."""

    def __init__(self, start: float = 1000.0) -> None:
        self.busy: "list[Callable[[], bool]]" = []
        self.activity = 0
        self._now = start
        self._sleepers: "list[tuple[float, asyncio.Event]]" = []

    def now(self) -> float:
        """Seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has passed that time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._now + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)
            self.activity += 1

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers one after the other, each to do all its work."""
        end = self._now + seconds
        await self.settle()
        while True:
            due = [sleeper for sleeper in self._sleepers if sleeper[0] <= end and not sleeper[1].is_set()]
            if not due:
                break
            first = min([sleeper[0] for sleeper in due])
            self._now = max(self._now, first)
            for sleeper in due:
                if sleeper[0] <= self._now:
                    sleeper[1].set()
            await self.settle()
        self._now = end

    async def settle(self) -> None:
        """Wait until nothing happens any more without time passing."""
        quiet = rests = 0
        while quiet < QUIET_TURNS:
            seen = self.activity
            await asyncio.sleep(0)
            if self.activity != seen:
                quiet = rests = 0
            elif any(busy() for busy in self.busy):
                quiet = 0
                rests += 1
                if rests > MAX_RESTS:
                    raise LocalError("somebody has been busy for half a minute without getting anywhere")
                await asyncio.sleep(REST)
            else:
                quiet += 1
