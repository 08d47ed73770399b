"""Two BFD sessions joined over a carrier that loses, dies and heals, and ends that restart."""

import pytest
from bfd_sessions import ADMIN_DOWN, DOWN, UP, Ends
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_hub.trunk.bfd import INTERVAL
from handfast_hub.trunk.bfd_packet import Diagnostic


def test_two_ends_come_up_and_say_little() -> None:
    ends = Ends()
    ends.run(1.0)
    assert ends.states() == [UP, UP]
    assert [one.transmit_interval for one in ends.sessions] == [INTERVAL, INTERVAL]
    ends.packets = 0
    ends.run(30.0)
    assert [len(events) for events in ends.events] == [2, 2]
    # 100 intervals at each end, less a jitter of an eighth on average.
    assert 200 <= ends.packets <= 270


def test_a_carrier_that_dies_is_noticed_within_the_detection_time() -> None:
    ends = Ends()
    ends.run(5.0)
    ends.carry = lambda rng, to: False
    ends.run(1.0)
    assert ends.states() == [DOWN, DOWN]
    ends.carry = lambda rng, to: True
    ends.run(3.0)
    assert ends.states() == [UP, UP]


def test_a_carrier_that_dies_in_one_direction_is_down_at_both_ends() -> None:
    ends = Ends()
    ends.run(5.0)
    ends.carry = lambda rng, to: to == 0
    ends.run(1.1)
    # The end that hears nothing says so, and the other believes it.
    assert [events[-1].diagnostic for events in ends.events] == [
        Diagnostic.NEIGHBOR_SIGNALED_SESSION_DOWN,
        Diagnostic.CONTROL_DETECTION_TIME_EXPIRED,
    ]
    assert UP not in ends.states()
    ends.run(20.0)
    assert UP not in ends.states()


def test_an_end_that_restarts_comes_up_again_under_its_new_discriminator() -> None:
    ends = Ends()
    ends.run(5.0)
    ends.sessions[1] = ends.fresh()
    ends.run(2.5)
    assert ends.states() == [UP, UP]
    assert ends.sessions[0].remote_discriminator == ends.sessions[1].local_discriminator


def test_an_end_that_is_disabled_takes_the_other_down_until_it_is_enabled() -> None:
    ends = Ends()
    ends.run(5.0)
    ends.sessions[0].disable(Diagnostic.PATH_DOWN)
    ends.run(10.0)
    assert ends.states() == [ADMIN_DOWN, DOWN]
    assert ends.sessions[1].remote_diagnostic == Diagnostic.PATH_DOWN
    ends.sessions[0].enable()
    ends.run(3.0)
    assert ends.states() == [UP, UP]


def test_ends_with_different_intervals_agree() -> None:
    ends = Ends()
    ends.sessions[1].set_interval(100_000)
    ends.run(5.0)
    assert [one.transmit_interval for one in ends.sessions] == [INTERVAL, INTERVAL]
    ends.sessions[0].set_interval(100_000)
    ends.run(3.0)
    assert [one.transmit_interval for one in ends.sessions] == [100_000, 100_000]
    assert [one.detection_time for one in ends.sessions] == [300_000, 300_000]
    assert [len(events) for events in ends.events] == [2, 2]


@pytest.mark.parametrize("seed", range(8))
def test_a_loss_of_a_tenth_takes_a_session_down_seldom_and_never_for_long(seed: int) -> None:
    ends = Ends(seed, lambda rng, to: rng.random() > 0.1)
    ends.run(120.0)
    downs = [event for event in ends.events[0] if event.state is DOWN]
    assert len(downs) <= 4
    ends.carry = lambda rng, to: True
    ends.run(5.0)
    assert ends.states() == [UP, UP]


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(["run", "cut", "heal", "restart", "off", "on", "slow"]), max_size=12),
)
def test_whatever_happens_both_ends_are_up_when_it_is_over(seed: int, story: list[str]) -> None:
    ends = Ends(seed)
    for step in story:
        number = ends.rng.randrange(2)
        match step:
            case "cut":
                ends.carry = lambda rng, to: False
            case "heal":
                ends.carry = lambda rng, to: rng.random() > 0.2
            case "restart":
                ends.sessions[number] = ends.fresh()
            case "off":
                ends.sessions[number].disable()
            case "on":
                ends.sessions[number].enable()
            case "slow":
                ends.sessions[number].set_interval(ends.rng.choice([100_000, 300_000, 2_000_000]))
        ends.run(ends.rng.random() * 3)
    ends.carry = lambda rng, to: True
    for one in ends.sessions:
        one.enable()
    # The longest wait: a restarted end that is not heard before the Detection Time of 3 x 2 s.
    ends.run(20.0)
    assert ends.states() == [UP, UP]
    before = [len(events) for events in ends.events]
    ends.run(10.0)
    assert [len(events) for events in ends.events] == before
