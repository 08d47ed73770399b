"""One class of readings that goes out, life after life of this hub; sans-IO.

A hub that was restored from a copy has readings of several lives (registry/lives.py), and the other hub
counts each on its own. What is left of a life goes first, under the numbers that the other hub may know
it by; it says up to where it has it. Only when all of that is acknowledged the next life begins.
"""

import asyncio
from collections.abc import Sequence

from handfast_hub.registry.arriving import Stream
from handfast_hub.registry.bridging import Page, Sent
from handfast_hub.registry.lives import Life, life_at
from handfast_hub.trunk.flight import Ack, Flight


class Outgoing:
    """One class. `moved`: that it was acknowledged further is not noted yet."""

    def __init__(self, stream: Stream, channels: tuple[int, ...], sent: Sent, lives: Sequence[Life]) -> None:
        """`channels` are those of the class; `lives` all of this hub, the first one first."""
        self.stream = stream
        self.channels = channels
        self.flight = Flight(sent.acked)
        self.moved = False
        self.wake = asyncio.Event()
        # After what was sent there is nothing of this class up to that number.
        self._looked = (sent.acked, sent.acked)
        self._began = sent.began
        self._lives = lives
        self._place = life_at(lives, sent.acked)

    @property
    def life(self) -> int:
        """The name of the life whose readings go now."""
        return self._lives[self._place].name

    @property
    def floor(self) -> int:
        """The number behind which the stream begins in this life: for a hub that has nothing of it."""
        # A hub that was restored may have said that it stands before our beginning.
        return min(max(self._began, self._lives[self._place].after), self.flight.sent)

    @property
    def after(self) -> int:
        """Where to look on for what is to be sent: a class that is rare must not read all the others again
        and again."""
        sent, looked = self._looked
        return looked if sent == self.flight.sent else self.flight.sent

    def looked(self, newest: int) -> None:
        """There is nothing more of this class up to `newest`."""
        self._looked = (self.flight.sent, max(newest, self.flight.sent))

    def of_this_life(self, page: Page) -> Page:
        """What of a page of readings belongs to the life whose turn it is."""
        end = self._end()
        found = [reading for reading in page.readings if reading.number <= end]
        return Page(found, min(page.newest, end))

    def go_on(self) -> bool:
        """There are no more readings of this life: whether the turn of the next one has come now."""
        if self.flight.acked != self.flight.sent or self._place + 1 == len(self._lives):
            return False
        self._place += 1
        self.flight = Flight(self._lives[self._place].after)
        self.moved = True
        return True

    def hear(self, life: int, ack: Ack, now: float) -> None:
        """Take an answer of the other hub."""
        if life != self.life:
            return
        # It may have readings of this life that we have lost, whose numbers now stand for others.
        start, end = self._lives[self._place].after, self._end()
        runs = [(previous, min(number, end)) for previous, number in ack.runs if previous < end]
        number = min(max(ack.number, start), end)
        if self.flight.hear(ack._replace(number=number, runs=runs), now):
            self.moved = True
        self.wake.set()

    def _end(self) -> int:
        return self._lives[self._place + 1].after if self._place + 1 < len(self._lives) else 2**63
