"""message_4 of handshakes that are over, for a device that asks again: the same bytes (R5).

Each is kept for the life of a session and given on the chan of its handshake alone. Nobody wrote down
the chan of an answer of an earlier process: it belongs to the first one that shows the right message_3.
"""

from typing import NamedTuple

from handfast_hub.registry.traffic import Answer

# How many are kept; the oldest go first.
ANSWERS_LIMIT = 50_000


class _Kept(NamedTuple):
    """`reply` is the topic of the chan, None for an answer of an earlier process."""

    reply: str | None
    digest: bytes
    frame: bytes
    until: float


class Answers:
    """Answers by C_R, oldest first."""

    def __init__(self, lifetime: float) -> None:
        """Each is kept for `lifetime` seconds."""
        self._lifetime = lifetime
        self._kept: dict[bytes, _Kept] = {}

    def __contains__(self, c_r: bytes) -> bool:
        return c_r in self._kept

    def keep(self, c_r: bytes, reply: str, digest: bytes, frame: bytes, now: float) -> None:
        """Keep `frame`, the answer to the message_3 whose SHA-256 is `digest`."""
        self._kept[c_r] = _Kept(reply, digest, frame, now + self._lifetime)

    def recall(self, answers: list[Answer], now: float) -> None:
        """Take over what an earlier process of this hub has committed."""
        for answer in answers:
            self._kept[answer.c_r] = _Kept(
                None, answer.message_3_hash, answer.message_4, now + self._lifetime
            )

    def is_for(self, c_r: bytes, reply: str) -> bool:
        """Whether the answer of `c_r` may go to the chan of `reply` at all: asked before a hash is made."""
        return self._kept[c_r].reply in (None, reply)

    def give(self, c_r: bytes, reply: str, digest: bytes) -> bytes | None:
        """The frame for the chan of `reply` when `digest` is that of the message_3 it answers, else None."""
        kept = self._kept[c_r]
        if kept.digest != digest:
            return None
        self._kept[c_r] = kept._replace(reply=reply)
        return kept.frame

    def expire(self, now: float) -> None:
        """Forget what is older than its lifetime, and what is too much."""
        while self._kept:
            c_r, kept = next(iter(self._kept.items()))
            if kept.until > now and len(self._kept) <= ANSWERS_LIMIT:
                break
            del self._kept[c_r]
