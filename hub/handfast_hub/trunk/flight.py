"""What of one class is on its way to the other hub, and what of it was lost; sans-IO.

The other hub acknowledges by the number up to which it has committed everything, and by the runs
beyond it that it holds in memory. What was held may be gone when it restarts, so nothing is
forgotten here before it is committed there. What was lost is found as QUIC finds it (RFC 9002):
something that was sent later has arrived (section 6.1), or nothing is heard for as long as answers
take (the probe timeout, section 6.2).
"""

from collections.abc import Sequence
from typing import NamedTuple

# What may be on its way: readings, and bytes of them. One reading may always be.
WINDOW = 1024
WINDOW_BYTES = 2 * 1024 * 1024
# RFC 9002 section 6.1.1: lost, when so many that were sent later have arrived.
PACKET_THRESHOLD = 3
# RFC 9002 section 6.2.2: what answers are thought to take before one has come, in seconds.
FIRST_ROUND_TRIP = 0.333
# The other hub answers after its commit, which waits for company; in seconds.
ANSWER_DELAY = 0.1
# Without any answer probes become rarer, down to one in so many seconds.
LONGEST_PAUSE = 5.0
# RFC 9002 section 6.2.4: a probe is at most two.
PROBES = 2


class Ack(NamedTuple):
    """What the other hub says of a class: everything up to `number` is committed there.

    `runs` are (previous, number) of what it holds beyond that: everything after `previous` up to
    `number`, in order. `instance` is drawn anew with each start of that hub, `serial` grows with each
    of its answers: so an older answer is told from a newer one.
    """

    number: int
    instance: bytes
    serial: int
    runs: Sequence[tuple[int, int]]


class Flying:
    """One reading on its way: the message as it goes, and when it went last, by order and by time."""

    __slots__ = ("again", "at", "held", "message", "number", "order")

    def __init__(self, number: int, message: bytes) -> None:
        self.number = number
        self.message = message
        self.order = -1
        self.at = 0.0
        self.again = self.held = False


class Flight:
    """One class. Times are seconds of any clock that only grows."""

    def __init__(self, acked: int) -> None:
        """`acked` is the number of the last reading that the other hub has acknowledged."""
        self.acked = self.sent = acked
        self._flying: dict[int, Flying] = {}
        # What may have been lost, in the order in which it went.
        self._unsure: dict[int, Flying] = {}
        self._lost: dict[int, Flying] = {}
        self._bytes = 0
        self._orders = 0
        # The last one in the order of sending that is known to have arrived.
        self._newest = -1
        self._heard: tuple[bytes, int] = (b"", -1)
        self._round_trip = FIRST_ROUND_TRIP
        self._variation = FIRST_ROUND_TRIP / 2
        self._measured = False
        self._probed = 0
        self._moved_at = 0.0

    @property
    def room(self) -> int:
        """How many more readings may go now."""
        return WINDOW - len(self._flying) if self._bytes < WINDOW_BYTES else 0

    def add(self, number: int, message: bytes, now: float) -> None:
        """Reading `number` has just been sent for the first time."""
        flying = self._flying[number] = Flying(number, message)
        self._bytes += len(message)
        self.sent = number
        self._send(flying, now)

    def lost(self) -> list[Flying]:
        """What has to go again, the oldest first; say `resent` of each that went."""
        return sorted(self._lost.values(), key=lambda flying: flying.number)

    def resent(self, flying: Flying, now: float) -> None:
        """It went again."""
        if self._lost.pop(flying.number, None) is not None:
            flying.again = True
            self._send(flying, now)

    def patience(self, now: float) -> float:
        """Seconds until `probe` is due; LONGEST_PAUSE when nothing is in doubt."""
        if not self._unsure:
            return LONGEST_PAUSE
        return max(0.0, self._moved_at + self._timeout() - now)

    def probe(self, now: float) -> None:
        """When nothing was heard for too long, the oldest ones count as lost."""
        if self._unsure and not self._lost and now >= self._moved_at + self._timeout():
            self._probed += 1
            self._moved_at = now
            oldest = sorted(self._unsure.values(), key=lambda flying: flying.number)[:PROBES]
            for flying in oldest:
                self._lose(flying)

    def hurry(self) -> None:
        """There is a way to the other hub again: probe at once, and often."""
        self._probed = 0
        self._moved_at = -LONGEST_PAUSE

    def strand(self) -> None:
        """What carried them is dead: everything that is not known to have arrived goes again."""
        for flying in list(self._unsure.values()):
            self._lose(flying)

    def hear(self, ack: Ack, now: float) -> bool:
        """Take an answer; whether `acked` has moved."""
        before, instance = self.acked, self._heard[0]
        if ack.instance == instance and ack.serial <= self._heard[1]:
            return False
        self._heard = (ack.instance, ack.serial)
        if ack.number < self.acked or ack.number > self.sent:
            # That hub was restored from an older copy, or ours lags behind it: go on from what it has.
            self.rewind(ack.number)
            return self.acked != before
        arrived = self._commit(ack.number)
        arrived += self._hold(ack.runs)
        self._measure(arrived, now)
        for flying in arrived:
            self._newest = max(self._newest, flying.order)
        if arrived or self.acked != before:
            self._probed, self._moved_at = 0, now
        for order in list(self._unsure):
            if order > self._newest - PACKET_THRESHOLD:
                break
            self._lose(self._unsure[order])
        return self.acked != before

    def rewind(self, number: int) -> None:
        """Forget what is on its way; the next to be sent is what follows `number`."""
        self.acked = self.sent = number
        self._flying.clear()
        self._unsure.clear()
        self._lost.clear()
        self._bytes = 0

    def _send(self, flying: Flying, now: float) -> None:
        flying.order, flying.at = self._orders, now
        self._orders += 1
        self._unsure[flying.order] = flying
        self._moved_at = now

    def _lose(self, flying: Flying) -> None:
        self._unsure.pop(flying.order, None)
        self._lost[flying.number] = flying

    def _commit(self, number: int) -> list[Flying]:
        arrived = []
        for each in list(self._flying):
            if each > number:
                break
            flying = self._flying.pop(each)
            self._bytes -= len(flying.message)
            if self._sure(flying):
                arrived.append(flying)
        self.acked = number
        return arrived

    def _hold(self, runs: Sequence[tuple[int, int]]) -> list[Flying]:
        """Take what is in `runs` as held there, and nothing else."""
        arrived, left = [], iter(runs)
        first, last = next(left, (0, -1))
        for number, flying in self._flying.items():
            while last >= 0 and number > last:
                first, last = next(left, (0, -1))
            held = first < number <= last
            if held and not flying.held:
                if self._sure(flying):
                    arrived.append(flying)
            elif flying.held and not held:
                # That hub was restarted, or had no room.
                self._lost[number] = flying
            flying.held = held
        return arrived

    def _sure(self, flying: Flying) -> bool:
        """It has arrived; whether that is news."""
        known = self._unsure.pop(flying.order, None) or self._lost.pop(flying.number, None)
        return known is not None

    def _measure(self, arrived: list[Flying], now: float) -> None:
        """RFC 9002 section 5: from the newest of what has just arrived, if it went only once."""
        newest = max(arrived, key=lambda flying: flying.order, default=None)
        if newest is None or newest.again:
            return
        sample = now - newest.at
        if not self._measured:
            self._measured, self._round_trip, self._variation = True, sample, sample / 2
        else:
            self._variation += (abs(self._round_trip - sample) - self._variation) / 4
            self._round_trip += (sample - self._round_trip) / 8

    def _timeout(self) -> float:
        """RFC 9002 section 6.2.1, twice as long after each probe that brought nothing."""
        pause = self._round_trip + 4 * self._variation + ANSWER_DELAY
        return float(min(pause * 2 ** min(self._probed, 16), LONGEST_PAUSE))
