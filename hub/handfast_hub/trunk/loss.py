"""How much of what is numbered is lost on its way, and whether that is worth repairs (fec.py); sans-IO."""


class Loss:
    """The loss meter of one path.

    A moving average with a weight of 1/1,000 for each number. `high` begins above 0.5 % and ends below 0.1 %,
    so that it does not flutter. A number counts as lost when 64 later ones were reached without it.
    """

    ON, OFF = 0.005, 0.001
    _WEIGHT = 0.001
    _WINDOW = 64

    def __init__(self) -> None:
        # The share of numbers that are lost, 0 to 1.
        self.rate = 0.0
        self.high = False
        self._highest: int | None = None
        # The newest number is bit 0. `_pending` numbers stand in the window and are not counted yet.
        self._seen = self._pending = 0

    def count(self, number: int) -> None:
        """What bears this number came; in any order, and perhaps once more."""
        # What came before we listened is not lost.
        ahead = 1 if self._highest is None else number - self._highest
        if ahead > 0:
            self._advance(ahead)
            self._highest, ahead = number, 0
        if -self._pending < ahead:
            self._seen |= 1 << -ahead

    def _advance(self, ahead: int) -> None:
        entering = min(ahead, self._WINDOW)
        for _ in range(self._pending + entering - self._WINDOW):
            self._pending -= 1
            self._count(0.0 if self._seen >> self._pending & 1 else 1.0, 1)
        self._pending += entering
        # Numbers that went through the window without ever being in it.
        self._count(1.0, ahead - entering)
        self._seen = self._seen << entering & (1 << self._WINDOW) - 1

    def _count(self, lost: float, numbers: int) -> None:
        self.rate = lost + (self.rate - lost) * (1.0 - self._WEIGHT) ** numbers
        self.high = self.rate >= self.OFF if self.high else self.rate > self.ON
