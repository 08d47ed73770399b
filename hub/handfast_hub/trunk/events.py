"""What a lane tells its shell, one event after the other: `Lane.next_event`."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """The shell is asked for a QKD key: a new one, or that of `key_id`. Answer with `supply`.

    A new one should have come over `ways` without a common relay, and `least` of them will do.
    """

    ticket: int
    key_id: bytes | None
    ways: int = 1
    least: int = 1


@dataclass(frozen=True, slots=True)
class Established:
    """A new epoch is in use. `hybrid`: a QKD key is in it; otherwise ML-KEM and the chain alone.

    `exporter` is the exporter secret, 48 bytes, for key feeds; None without a sound QKD key. `ways`: how many
    the QKD key came over.
    """

    epoch: int
    hybrid: bool
    exporter: bytes | None = field(repr=False, default=None)
    ways: int = 0


@dataclass(frozen=True, slots=True)
class Suspect:
    """The QKD key of the epoch in use is trusted no longer; one of the two ends said so."""

    epoch: int


class Data(NamedTuple):
    """One record of the peer. `degraded`: it came under an epoch without a QKD key."""

    # A tuple, for there is one for each record, and a frozen dataclass takes three times as long to make.
    kind: int
    data: bytes
    degraded: bool

    def __repr__(self) -> str:
        """Nothing of what it holds: this may stand in a traceback."""
        return f"Data(kind={self.kind}, degraded={self.degraded})"


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing authentic was heard for `gone` seconds; the carrier may be down."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The peer is heard, at first or again."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt at a new epoch failed; the one in use stays. `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A BFD control packet of the peer, for the session of the carrier that brought it."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class KeysAhead:
    """The peer holds these keys in reserve: to be fetched by the responder, who answers with what it has."""

    key_ids: list[bytes]


Event = KeyWanted | Established | Suspect | Data | Silent | Heard | Failed | Beat | KeysAhead
