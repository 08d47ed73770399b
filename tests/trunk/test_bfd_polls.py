"""The Poll Sequence of BFD by the text of RFC 5880 section 6.5: what waits for it, and what does not."""

import pytest
from bfd_sessions import DOWN, INIT, UP, asked, brought, said, session

from handfast_hub.trunk.bfd import INTERVAL, SLOW, Session
from handfast_hub.trunk.bfd_packet import State


@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_a_poll_is_answered_at_once_by_one_final_without_poll(state: State) -> None:
    one = brought(state)
    one.receive(said(state=UP, poll=True).encode(), 0.01)
    packets = asked(one, 0.01)
    assert [(packet.poll, packet.final) for packet in packets] == [(False, True)]


def test_going_up_polls_on_the_periodic_packets_until_a_final_comes() -> None:
    one = session()
    one.receive(said(state=INIT).encode(), 0.0)
    first = asked(one, 0.0)
    assert (first[0].state, first[0].poll, first[0].desired_min_tx_interval) == (UP, True, INTERVAL)
    one.handle_timer(0.3)
    assert [packet.poll for packet in asked(one, 0.3)] == [True]
    one.receive(said(state=UP, final=True).encode(), 0.4)
    one.handle_timer(0.6)
    assert [packet.poll for packet in asked(one, 0.6)] == [False]


def polled(one: Session) -> None:
    """End the poll of going up, and pass the packet that has to stand between two."""
    one.receive(said(state=UP, final=True).encode(), 0.1)
    one.receive(said(state=UP).encode(), 0.1)
    one.handle_timer(0.3)
    assert [packet.poll for packet in asked(one, 0.3)] == [False]


def test_a_slower_pace_waits_for_the_end_of_its_poll() -> None:
    one = brought(UP)
    polled(one)
    one.set_interval(2_000_000)
    assert [packet.desired_min_tx_interval for packet in asked(one, 0.3)] == [2_000_000]
    assert one.transmit_interval == INTERVAL
    # A longer patience is at once.
    assert one.detection_time == 6_000_000
    one.receive(said(state=UP, final=True).encode(), 0.4)
    assert one.transmit_interval == 2_000_000


def test_a_shorter_patience_waits_for_the_end_of_its_poll() -> None:
    one = brought(UP)
    polled(one)
    one.receive(said(state=UP, desired_min_tx_interval=50_000).encode(), 0.3)
    one.set_interval(100_000)
    assert one.transmit_interval == INTERVAL
    assert one.detection_time == 3 * INTERVAL
    one.receive(said(state=UP, desired_min_tx_interval=50_000, final=True).encode(), 0.4)
    assert one.detection_time == 300_000


def test_a_change_during_a_poll_begins_another_after_a_packet_without_final() -> None:
    one = brought(UP)
    one.set_interval(2_000_000)
    one.receive(said(state=UP, final=True).encode(), 0.1)
    assert one.transmit_interval == INTERVAL
    one.handle_timer(0.3)
    assert [packet.poll for packet in asked(one, 0.3)] == [False]
    one.receive(said(state=UP).encode(), 0.4)
    one.handle_timer(0.6)
    assert [packet.poll for packet in asked(one, 0.6)] == [True]
    one.receive(said(state=UP, final=True).encode(), 0.7)
    assert one.transmit_interval == 2_000_000


def test_a_change_right_after_a_final_waits_for_a_packet_without_one() -> None:
    one = brought(UP)
    one.receive(said(state=UP, final=True).encode(), 0.1)
    one.set_interval(2_000_000)
    one.handle_timer(0.3)
    assert True not in [packet.poll for packet in asked(one, 0.3)]
    # This one may be the first Final once more: it ends nothing.
    one.receive(said(state=UP, final=True).encode(), 0.4)
    assert one.transmit_interval == INTERVAL
    one.receive(said(state=UP).encode(), 0.5)
    one.handle_timer(0.6)
    assert [packet.poll for packet in asked(one, 0.6)] == [True]


def test_going_down_slows_the_session_at_once() -> None:
    one = brought(UP)
    one.receive(said(state=DOWN).encode(), 0.1)
    assert one.transmit_interval == SLOW
