"""What carries the frames of a trunk between two machines: what TCP (tcp.py) and QUIC (quic.py) share.

A carrier is trusted with nothing. It says who calls, so that a hub with several trunks knows which one
is meant, and shows that it holds the pairing secret (greeting.py), so that strangers cost little; the
lanes prove the hub. It may lose frames, repeat them and bring them out of order.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from handfast.core.errors import DecodeError
from handfast_hub.trunk.greeting import ANSWER_LENGTH
from handfast_hub.trunk.messages import LONGEST
from handfast_hub.trunk.records import LONGEST_PLAINTEXT, OVERHEAD

# What the hub that calls says first, before its answer to the challenge.
_GREETING = b"handfast-trunk-1"
GREETING_LENGTH = len(_GREETING) + ANSWER_LENGTH
GREETING_SECONDS = 10.0

# Over a stream of bytes each frame stands behind its length.
LENGTH = 3
LONGEST_FRAME = max(LONGEST, LONGEST_PLAINTEXT + OVERHEAD)
# Beyond this many unsent bytes frames are dropped: the lanes and the bridge send again what matters.
WRITE_LIMIT = 4 * 1024 * 1024
DIAL_SECONDS = 10.0


class Measured(NamedTuple):
    """What a carrier knows of its path: round-trip time in seconds, share of lost packets, FEC on or off.

    None for what it cannot tell."""

    rtt: float | None = None
    loss: float | None = None
    fec: bool | None = None


class Carrier(ABC):
    """One connection to another hub."""

    def __init__(self, name: str) -> None:
        """`name` says which connection this is, for people: "quic://vienna.example:7302"."""
        self.name = name
        # The IP address that called, when somebody did.
        self.address = ""
        # Set once an authentic record came this way.
        self.proven = False

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame; LinkClosed at the end, DecodeError for a length that no frame has."""

    @abstractmethod
    def send(self, frames: list[bytes]) -> int:
        """Queue frames; how many were dropped because the connection does not keep up."""

    @abstractmethod
    def send_ahead(self, frame: bytes) -> None:
        """Send a short frame before everything that waits, where there is a way to; once, lost or not."""

    @abstractmethod
    async def greeting(self) -> bytes:
        """The kid of the hub that calls and holds the pairing secret; PeerError for anybody else."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection; may be called twice."""

    def forget(self) -> None:  # noqa: B027
        """The path is down, and what waits goes again over another: drop it, where there is a way to."""

    def measured(self) -> Measured:
        """What is known of the path now."""
        return Measured()


class Port(ABC):
    """Where other hubs connect."""

    @abstractmethod
    def refuse(self) -> None:
        """Take no more connections; those that were handed on stay."""

    @abstractmethod
    async def close(self) -> None:
        """Let all go."""


# What takes a connection that came in, and keeps it until it ends.
Called = Callable[[Carrier], Awaitable[None]]


def encode_greeting(answer: bytes) -> bytes:
    """What the hub that calls says first: who it is, and its answer to the challenge."""
    return _GREETING + answer


def decode_greeting(greeting: bytes) -> bytes:
    """The answer in a greeting of GREETING_LENGTH bytes; DecodeError for anything else than a trunk."""
    if not greeting.startswith(_GREETING):
        raise DecodeError("a connection to the trunk port does not speak handfast-trunk-1")
    return greeting[len(_GREETING) :]


def in_stream(frames: list[bytes]) -> bytes:
    """Frames as they stand in a stream of bytes."""
    return b"".join(len(frame).to_bytes(LENGTH, "big") + frame for frame in frames)


def checked_length(prefix: bytes) -> int:
    """The length that stands before a frame; DecodeError for one that no frame has."""
    length = int.from_bytes(prefix, "big")
    if length > LONGEST_FRAME:
        raise DecodeError(f"a frame of a trunk has at most {LONGEST_FRAME} bytes, not {length}")
    return length
