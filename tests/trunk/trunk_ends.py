"""Two ends of a lane joined back to back, over a carrier that a test makes as bad as it likes.

The KMEs are a dictionary: both ends of a link have the same keys under the same key_ID. What a real
KME does is judged in tests/kme.
"""

import random
from collections.abc import Callable
from typing import Any

from handfast.core.credentials import Identity, make_ccs
from handfast.core.errors import Error
from handfast.core.suites import ML_DSA_65
from handfast_cpython import Crypto
from handfast_hub.trunk.events import Data, Established, Event, KeyWanted
from handfast_hub.trunk.initiator import Initiator
from handfast_hub.trunk.lane import Lane
from handfast_hub.trunk.opening import Party, Peer
from handfast_hub.trunk.policy import HYBRID, Timing
from handfast_hub.trunk.responder import Responder

CRYPTO = Crypto()
PAIRING = bytes(range(32))
TIMING = Timing(rekey=20.0, fresh=60.0, retry=2.0, alive=1.0, gone=3.0, overlap=5.0)


def _identity(number: int) -> Identity:
    seed = bytes([number]) * 32
    public_key = CRYPTO.signature_public_key(ML_DSA_65, seed)
    return Identity(seed, make_ccs(CRYPTO, f"hub {number}", ML_DSA_65, public_key))


# Lower hub_id first: the initiator, then the responder.
IDENTITIES = sorted((_identity(1), _identity(2)), key=lambda identity: identity.credential.thumbprint)


class Kmes:
    """Both KMEs of a QKD link: keys that both ends get, until one of them is switched off."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._keys: dict[bytes, bytes] = {}
        self.up = True
        self.slave_up = True
        self.given: list[bytes] = []
        # Over how many ways a key may come, and over how many each was asked for.
        self.ways = 2
        self.asked: list[tuple[int, int]] = []

    def enc_keys(self, ways: int = 1, least: int = 1) -> tuple[bytes | None, bytes | None, int]:
        self.asked.append((ways, least))
        if not self.up or self.ways < least:
            return None, None, 1
        key_id, key = self._rng.randbytes(16), self._rng.randbytes(32)
        self._keys[key_id] = key
        self.given.append(key_id)
        return key_id, key, min(ways, self.ways)

    def dec_keys(self, key_id: bytes) -> tuple[bytes | None, bytes | None, int]:
        if not self.up or not self.slave_up:
            return None, None, 1
        return key_id, self._keys.pop(key_id, None), 1


class Joined:
    """Both ends, the time, and what came out of each."""

    def __init__(
        self,
        seed: int = 1,
        lane: int = HYBRID,
        carry: "Callable[[random.Random, list[bytes]], list[bytes]] | None" = None,
        timing: Timing = TIMING,
        pairings: tuple[bytes, bytes] = (PAIRING, PAIRING),
        secret_ways: tuple[int, int] = (1, 1),
    ) -> None:
        self.rng = random.Random(seed)
        self.kmes = Kmes(random.Random(seed + 1))
        self.carry = carry or (lambda _, frames: frames)
        self.now = 0.0
        self.lane = lane
        self.timing = timing
        self.pairings = pairings
        self.secret_ways = secret_ways
        self.ends: list[Lane] = [self.end(0), self.end(1)]
        self.events: list[list[Event]] = [[], []]
        self.errors: list[Error] = []
        self.recorded: list[list[bytes]] = [[], []]

    def end(self, number: int) -> Lane:
        """A new end, as after a restart."""
        peer = Peer(IDENTITIES[1 - number].credential.thumbprint, self.pairings[number])
        draw = random.Random(self.rng.random()).randbytes
        party = Party(CRYPTO, draw, IDENTITIES[number], peer, self.lane, self.secret_ways[number])
        return (Initiator, Responder)[number](party, self.now, self.timing)

    def restart(self, number: int) -> None:
        """Kill an end and start it anew, with nothing kept."""
        self.ends[number] = self.end(number)

    def run(self, seconds: float) -> None:
        """Let time pass in steps of a tenth of a second, and carry what the ends say."""
        for _ in range(round(seconds * 10)):
            for lane in self.ends:
                if self.now >= lane.timer():
                    lane.handle_timer(self.now)
            self.settle()
            self.now = round(self.now + 0.1, 1)

    def settle(self) -> None:
        """Carry until nobody says anything."""
        for _ in range(100):
            quiet = True
            for number, lane in enumerate(self.ends):
                self._collect(number, lane)
                frames = lane.frames_to_send(self.now)
                self.recorded[number] += frames
                quiet = quiet and not frames
                for frame in self.carry(self.rng, frames):
                    self.deliver(1 - number, frame)
            if quiet:
                return
        raise AssertionError("the two ends never stop talking")

    def deliver(self, number: int, frame: bytes) -> None:
        """Give a frame to an end; its refusals are kept in `errors`."""
        try:
            self.ends[number].receive(frame, self.now)
        except Error as error:
            self.errors.append(error)
        self._collect(number, self.ends[number])

    def _collect(self, number: int, lane: Lane) -> None:
        while (event := lane.next_event()) is not None:
            if isinstance(event, KeyWanted):
                if event.key_id is None:
                    key_id, key, ways = self.kmes.enc_keys(event.ways, event.least)
                else:
                    key_id, key, ways = self.kmes.dec_keys(event.key_id)
                lane.supply(event.ticket, key_id, key, self.now, ways)
            else:
                self.events[number].append(event)

    def data(self, number: int) -> list[Any]:
        """What came out at an end, as (class, bytes, degraded)."""
        return [
            (event.kind, event.data, event.degraded)
            for event in self.events[number]
            if isinstance(event, Data)
        ]

    def epochs(self, number: int) -> list[tuple[int, bool]]:
        """The epochs that an end has used, as (number, hybrid)."""
        return [
            (event.epoch, event.hybrid) for event in self.events[number] if isinstance(event, Established)
        ]

    def same_keys(self) -> bool:
        """Whether both ends use one and the same epoch."""
        first, second = (lane.current for lane in self.ends)
        return bool(first and second and (first.number, first.chain) == (second.number, second.chain))


def opened(**values: object) -> Joined:
    """A lane that is open, for a second."""
    joined = Joined(**values)  # type: ignore[arg-type]
    joined.run(1.0)
    assert joined.same_keys()
    return joined
