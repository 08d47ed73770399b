"""When the device sends its last message again, and when it gives up (docs/protocol.md, carriage)."""

from handfast.core.constants import RESEND_DELAYS, RESEND_JITTER, SESSION_LIFETIME


class Resend:
    """The patience of one session: one frame, byte for byte, after 2, 4 and 8 s; an end after 60 s."""

    def __init__(self) -> None:
        self._frame = b""
        self._deadline: "float | None" = None
        self._at: "float | None" = None
        self._count = 0
        self._spread = 1.0

    def begin(self, spread: int, now: float) -> None:
        """The session lives from `now`; `spread` (0..255, random) puts a fleet apart by up to 25 %."""
        # A fleet that was switched on at once does not ask again at once.
        self._spread = 1 + RESEND_JITTER * spread / 255
        self._deadline = now + SESSION_LIFETIME

    def sent(self, frame: bytes, now: float) -> None:
        """`frame` leaves for the first time."""
        self._frame = frame
        self._count = 0
        self._schedule(now)

    def due(self, now: float) -> "bytes | None":
        """The frame when it is time to send it again."""
        if self._at is None or now < self._at:
            return None
        self._count += 1
        self._schedule(now)
        return self._frame

    def expired(self, now: float) -> bool:
        """Whether the session has lived too long."""
        return self._deadline is not None and now >= self._deadline

    def timer(self) -> "float | None":
        """When to look again, or None."""
        if self._at is None or self._deadline is None:
            return self._deadline
        return min(self._at, self._deadline)

    def rest(self) -> None:
        """The answer has come: the frame is let go, the session lives on until its deadline."""
        self._frame = b""
        self._at = None

    def end(self) -> None:
        """The session is over: nothing is due any more."""
        self._frame = b""
        self._at = self._deadline = None

    def _schedule(self, now: float) -> None:
        more = self._count < len(RESEND_DELAYS)
        self._at = now + RESEND_DELAYS[self._count] * self._spread if more else None
