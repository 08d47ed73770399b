"""What has come of one class and waits for its turn: readings go on in the order of their numbers; sans-IO.

Each reading names the one before it. A carrier that loses some makes gaps; what comes behind a gap is
held here, within bounds, until the gap is filled. What is held is in memory alone and is not
acknowledged as committed, only as held.
"""

from handfast_hub.registry.arriving import Arrival

# What is held behind gaps: readings, and bytes of them; more is dropped, and comes again.
HELD = 1024
HELD_BYTES = 4 * 1024 * 1024
# An answer names at most so many runs of what is held.
RUNS = 64


class Gathering:
    """One class of one life of the other hub."""

    def __init__(self, floor: int) -> None:
        """`floor` is where a stream begins of which nothing is here."""
        self.floor = floor
        # The number up to which everything is committed; None while only the registry knows.
        self.committed: int | None = None
        # An answer is owed: something came, if only what is here already.
        self.owed = False
        self._next = 0
        # By the number that each follows.
        self._held: dict[int, Arrival] = {}
        self._bytes = 0

    def begin(self, number: int) -> None:
        """Everything up to `number` is committed; go on from there."""
        self.committed = self._next = number

    def put(self, arrival: Arrival) -> None:
        """Something came."""
        self.owed = True
        if self.committed is not None and arrival.number <= self._next:
            return
        full = len(self._held) >= HELD or self._bytes >= HELD_BYTES
        if full and (self.committed is None or arrival.previous > self._next):
            return
        # There is nothing between `previous` and `number`; so it also follows what lies between them.
        follows = arrival.previous
        if self.committed is not None and follows < self._next:
            follows = self._next
        before = self._held.get(follows)
        self._held[follows] = arrival
        self._bytes += len(arrival.data) - (len(before.data) if before is not None else 0)

    def take(self) -> list[Arrival]:
        """What follows, in order; say `begin` with how far it is committed after that."""
        found = []
        while (arrival := self._held.pop(self._next, None)) is not None:
            self._bytes -= len(arrival.data)
            if arrival.number > self._next:
                found.append(arrival)
                self._next = arrival.number
        return found

    def runs(self) -> list[tuple[int, int]]:
        """(previous, number) of each run that is held behind a gap, lowest first."""
        found: list[tuple[int, int]] = []
        for follows in sorted(self._held):
            arrival = self._held[follows]
            if follows < self._next:
                # Overtaken: it was sent with another one before it, and comes again if it is missing.
                del self._held[follows]
                self._bytes -= len(arrival.data)
            elif found and found[-1][1] == follows:
                found[-1] = (found[-1][0], arrival.number)
            elif len(found) < RUNS:
                found.append((follows, arrival.number))
        return found
