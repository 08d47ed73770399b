"""Which carrier is used: BFD sessions over paths that a test cuts and mends, a tenth of a second a step."""

import random
from collections.abc import Callable

from handfast_hub.trunk.carrier import Carrier
from handfast_hub.trunk.paths import RETURN_AFTER, STALE_DIALLED, Path, Paths


class Named(Carrier):
    """A carrier that carries nothing itself."""

    async def receive(self) -> bytes:
        raise NotImplementedError

    def send(self, frames: list[bytes]) -> int:
        raise NotImplementedError

    def send_ahead(self, frame: bytes) -> None:
        raise NotImplementedError

    async def greeting(self) -> bytes:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Two:
    """A hub that dials with a list of carriers, and the hub that it dials."""

    def __init__(self, *names: str) -> None:
        rng = random.Random(1)
        self.now = 0.0
        self.dials, self.called = Paths(rng.randbytes), Paths(rng.randbytes)
        self.cut: set[str] = set()
        self.stale: list[str] = []
        self.pairs: list[tuple[Path, Path]] = []
        for rank, name in enumerate(names):
            self.join(name, rank)

    def join(self, name: str, rank: int) -> None:
        near = self.dials.add(Named(name), rank, self.now)
        far = self.called.add(Named(name), None, self.now)
        self.pairs.append((near, far))
        self.dials.judge(self.now)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Let time pass; the dialling hub sends data over the carrier in use. How long it was."""
        began = self.now
        while self.now < began + seconds and not until():
            self.now = round(self.now + 0.1, 1)
            used = self.dials.current
            for near, far in self.pairs:
                if near is used and near.carrier.name not in self.cut:
                    self.called.heard(far, True, self.now)
            for here, there, side in ((self.dials, self.called, 0), (self.called, self.dials, 1)):
                for path, packet in here.packets_to_send(self.now):
                    pair = next((pair for pair in self.pairs if pair[side] is path), None)
                    if pair is not None and path.carrier.name not in self.cut:
                        there.heard(pair[1 - side], False, self.now)
                        there.beat(pair[1 - side], packet, self.now)
            for here in (self.dials, self.called):
                if self.now >= here.timer():
                    self.stale += [path.carrier.name for path in here.handle_timer(self.now)]
        return self.now - began

    def used(self) -> tuple[str, str]:
        """The carriers in use at both ends."""
        return tuple(
            "-" if at.current is None else at.current.carrier.name for at in (self.dials, self.called)
        )


def test_the_preferred_carrier_is_used_and_left_within_a_detection_time_and_taken_again() -> None:
    two = Two("quic", "tcp")
    assert two.run(10, lambda: two.used() == ("quic", "quic")) < 10
    two.run(5)
    two.cut.add("quic")
    # RFC 5880 section 6.8.4: three intervals of 300 ms since the last packet, and a step of the test.
    assert two.run(10, lambda: two.used() == ("tcp", "tcp")) <= 1.2
    assert two.dials.moved
    two.dials.moved = False
    two.run(3)
    two.cut.clear()
    assert RETURN_AFTER <= two.run(30, lambda: two.used() == ("quic", "quic")) < RETURN_AFTER + 5
    # Nothing was lost: the other carrier was well all the time.
    assert not two.dials.moved


def test_a_carrier_that_falls_again_and_again_waits_longer_each_time() -> None:
    two = Two("quic", "tcp")
    waits = []
    for _ in range(4):
        two.run(60, lambda: two.used()[0] == "quic")
        two.cut.add("quic")
        two.run(60, lambda: two.used()[0] == "tcp")
        two.cut.clear()
        waits.append(two.run(120, lambda: two.used()[0] == "quic"))
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_a_carrier_of_less_preference_is_not_taken_because_it_comes_up_later() -> None:
    two = Two("quic")
    two.run(10, lambda: two.used() == ("quic", "quic"))
    two.join("tcp", 1)
    two.run(30)
    assert two.used() == ("quic", "quic")
    assert all(path.up for path in two.dials)


def test_a_carrier_that_stays_down_is_given_up_for_a_new_one_and_one_that_returns_is_not() -> None:
    two = Two("quic", "tcp")
    two.run(10, lambda: two.used() == ("quic", "quic"))
    two.cut.add("quic")
    two.run(STALE_DIALLED - 1)
    two.cut.clear()
    two.run(30)
    assert two.stale == []
    two.cut.add("quic")
    two.run(STALE_DIALLED + 3)
    assert "quic" in two.stale


def test_when_every_carrier_is_down_none_is_in_use_and_the_first_that_returns_takes_over() -> None:
    two = Two("quic", "tcp")
    two.run(10, lambda: two.used() == ("quic", "quic"))
    two.cut |= {"quic", "tcp"}
    two.run(3)
    assert two.used() == ("-", "-")
    two.dials.moved = two.called.moved = False
    two.cut.remove("tcp")
    two.run(10, lambda: two.used() == ("tcp", "tcp"))
    assert two.used() == ("tcp", "tcp")
    assert two.dials.moved
    assert two.called.moved


def test_a_carrier_that_ends_is_left_at_once() -> None:
    two = Two("quic", "tcp")
    two.run(10, lambda: all(path.up for path in two.dials) and two.used() == ("quic", "quic"))
    two.dials.remove(two.pairs[0][0], two.now)
    assert two.used()[0] == "tcp"
    assert two.dials.moved


def test_the_hub_that_is_dialled_answers_where_it_is_spoken_to() -> None:
    two = Two("quic", "tcp")
    two.run(10, lambda: all(path.up for path in two.called) and two.used() == ("quic", "quic"))
    two.called.heard(two.pairs[1][1], True, two.now + 0.05)
    assert two.used() == ("quic", "tcp")


def test_a_stranger_s_carrier_gets_no_session_and_is_never_used() -> None:
    two = Two("quic")
    strange = two.called.add(Named("stranger"), None, two.now)
    two.run(20)
    assert strange.session is None
    assert two.used() == ("quic", "quic")
    # Not even one that brought a record which it had recorded elsewhere: its session never comes Up.
    two.called.heard(strange, True, two.now + 0.05)
    two.called.judge(two.now)
    assert two.used() == ("quic", "quic")
    two.run(40)
    assert two.used() == ("quic", "quic")
    assert "stranger" in two.stale


def test_a_carrier_is_not_dead_whose_control_packets_wait_behind_records() -> None:
    two = Two("tcp")
    two.run(10, lambda: two.used() == ("tcp", "tcp"))
    far = two.pairs[0][1]
    for _ in range(50):
        # A record in each tenth of a second, and no control packet.
        two.now = round(two.now + 0.1, 1)
        two.called.heard(far, True, two.now)
        two.called.packets_to_send(two.now)
        two.called.handle_timer(two.now)
    assert far.up
    two.cut.add("tcp")
    two.run(3)
    assert not far.up
