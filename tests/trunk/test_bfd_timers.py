"""The timers of BFD by the text of RFC 5880 sections 6.8.2 to 6.8.7: detection time, pace, jitter."""

from itertools import pairwise

import pytest
from bfd_sessions import DOWN, INIT, UP, asked, brought, said, session

from handfast_hub.trunk.bfd import SLOW, Session


@pytest.mark.parametrize(
    ("desired", "multiplier", "expected"),
    [(300_000, 3, 900_000), (1_000_000, 3, 3_000_000), (50_000, 5, 1_500_000), (0, 1, 300_000)],
)
def test_the_detection_time_is_that_of_section_6_8_4(desired: int, multiplier: int, expected: int) -> None:
    one = session()
    one.receive(said(desired_min_tx_interval=desired, detect_mult=multiplier).encode(), 5.0)
    assert one.detection_time == expected
    one.handle_timer(5.0 + expected / 1e6 - 0.001)
    assert one.state is INIT
    one.handle_timer(5.0 + expected / 1e6 + 0.001)
    assert one.state is DOWN


@pytest.mark.parametrize(("required", "expected"), [(1, 300_000), (300_000, 300_000), (2_000_000, 2_000_000)])
def test_the_slower_end_sets_the_pace(required: int, expected: int) -> None:
    one = brought(UP)
    one.receive(said(state=UP, required_min_rx_interval=required).encode(), 0.1)
    assert one.transmit_interval == expected


def intervals(one: Session, count: int, until: float) -> list[float]:
    """The times between `count` periodic packets to a peer that goes on talking."""
    times = []
    now = 0.0
    while len(times) <= count:
        now += 0.001
        assert now < until
        if int(now * 1000) % 200 == 0:
            one.receive(said(state=UP, final=True).encode(), now)
        if now >= one.timer():
            one.handle_timer(now)
            times += [now for packet in asked(one, now)]
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize(("multiplier", "longest"), [(3, 0.302), (1, 0.272)])
def test_the_jitter_is_that_of_section_6_8_7(multiplier: int, longest: float) -> None:
    one = brought(UP, multiplier=multiplier)
    found = intervals(one, 300, 200.0)[1:]
    assert min(found) >= 0.225 - 0.001
    assert max(found) <= longest
    assert min(found) < 0.235
    assert max(found) > longest - 0.012
    assert len(set(found)) > 30


def test_a_session_that_is_not_up_says_something_once_a_second_at_most() -> None:
    one = session()
    assert [packet.desired_min_tx_interval for packet in asked(one, 0.0)] == [SLOW]
    count = 0
    for step in range(10_000):
        if step / 1000 >= one.timer():
            one.handle_timer(step / 1000)
            count += len(asked(one, step / 1000))
    assert 9 <= count <= 13


def test_a_peer_that_wants_no_periodic_packets_gets_none() -> None:
    one = brought(UP)
    one.receive(said(state=UP, required_min_rx_interval=0, final=True).encode(), 0.0)
    asked(one, 0.0)
    one.handle_timer(0.8)
    assert asked(one, 0.8) == []
    # Section 6.8.7: a poll is answered all the same.
    one.receive(said(state=UP, required_min_rx_interval=0, poll=True).encode(), 0.8)
    assert [packet.final for packet in asked(one, 0.8)] == [True]


def test_a_peer_in_demand_mode_gets_no_periodic_packets_while_both_are_up() -> None:
    one = brought(UP)
    one.receive(said(state=UP, demand=True, final=True).encode(), 0.1)
    one.handle_timer(0.8)
    assert asked(one, 0.8) == []
    one.receive(said(state=INIT, demand=True).encode(), 0.8)
    one.handle_timer(0.9)
    assert len(asked(one, 0.9)) == 1


def test_a_shorter_interval_of_the_peer_is_honored_at_once() -> None:
    one = brought(UP)
    one.receive(said(state=UP, required_min_rx_interval=10_000_000).encode(), 0.0)
    one.handle_timer(0.3)
    asked(one, 0.3)
    assert one.timer() == pytest.approx(0.9)
    one.receive(said(state=UP, desired_min_tx_interval=10_000_000).encode(), 5.0)
    assert one.timer() <= 5.0
    one.handle_timer(5.0)
    assert len(asked(one, 5.0)) == 1
