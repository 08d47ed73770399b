"""BFD by the text of RFC 5880, and two sessions joined over a carrier as bad as a test likes."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast.core.errors import DecodeError, LocalError, PeerError, UnexpectedMessageError
from handfast_hub.trunk.bfd import INTERVAL, SLOW, Changed, Session, draw_discriminator
from handfast_hub.trunk.bfd_packet import PACKET_LENGTH, ControlPacket, Diagnostic, State, decode_packet

ADMIN_DOWN, DOWN, INIT, UP = State
OURS, THEIRS = 0x01020304, 0x0A0B0C0D
# Section 4.1, written out by hand: version 1, no diagnostic, Up, Poll, multiplier 3, 24 bytes.
PACKET = bytes.fromhex("20e0031801020304 0a0b0c0d 000493e0 000493e0 00000000")


def said(**values: object) -> ControlPacket:
    """A control packet of the peer."""
    packet = ControlPacket(0, DOWN, False, False, False, 3, THEIRS, OURS, INTERVAL, INTERVAL)
    return packet._replace(**values)  # type: ignore[arg-type]


def session(**values: object) -> Session:
    return Session(OURS, random.Random(1).randbytes, 0.0, **values)  # type: ignore[arg-type]


def asked(one: Session, now: float) -> list[ControlPacket]:
    """All that a session has to send now."""
    packets = []
    while (packet := one.packet_to_send(now)) is not None:
        packets.append(decode_packet(packet))
        assert len(packets) < 5
    return packets


def brought(state: State, **values: object) -> Session:
    """A session in `state`, by what the peer said, with nothing left to send."""
    one = session(**values)
    if state is ADMIN_DOWN:
        one.disable()
    if state in (INIT, UP):
        one.receive(said(state=DOWN).encode(), 0.0)
    if state is UP:
        one.receive(said(state=INIT).encode(), 0.0)
    asked(one, 0.0)
    while one.next_event() is not None:
        pass
    assert one.state is state
    return one


# The packet -------------------------------------------------------------------------------------


def test_the_control_packet_has_the_bytes_of_section_4_1() -> None:
    packet = ControlPacket(0, UP, True, False, False, 3, OURS, THEIRS, 300_000, 300_000)
    assert packet.encode() == PACKET
    assert decode_packet(PACKET) == packet


@given(
    st.builds(
        ControlPacket,
        st.integers(0, 31),
        st.sampled_from(State),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.integers(1, 255),
        st.integers(1, 2**32 - 1),
        st.integers(1, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    )
)
def test_every_lawful_packet_comes_back(packet: ControlPacket) -> None:
    assert len(packet.encode()) == PACKET_LENGTH
    assert decode_packet(packet.encode()) == packet


def changed(at: int, value: int) -> bytes:
    return PACKET[:at] + bytes([value]) + PACKET[at + 1 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "at least 24"),
        (PACKET[:-1], "at least 24"),
        (changed(0, 0x00), "version"),
        (changed(0, 0x40), "version"),
        (changed(3, 23), "Length"),
        (changed(3, 25), "Length"),
        (changed(2, 0), "Detect Mult"),
        (changed(1, 0xE1), "Multipoint"),
        (said(my_discriminator=0).encode(), "My Discriminator"),
        (said(state=UP, your_discriminator=0).encode(), "Your Discriminator"),
        (said(state=INIT, your_discriminator=0).encode(), "Your Discriminator"),
        (changed(1, 0xE4), "authentication"),
    ],
)
def test_what_section_6_8_6_discards_is_discarded(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_packet(data)


def test_what_section_6_8_6_does_not_discard_is_taken() -> None:
    for data in (PACKET + b"more", changed(0, 0x3F), changed(1, 0xE8), said(your_discriminator=0).encode()):
        decode_packet(data)


def test_a_packet_of_another_session_is_discarded_and_changes_nothing() -> None:
    one = brought(UP)
    with pytest.raises(UnexpectedMessageError):
        one.receive(said(state=DOWN, your_discriminator=OURS + 1).encode(), 0.1)
    assert (one.state, one.next_event()) == (UP, None)


@given(
    st.lists(
        st.binary(max_size=40)
        | st.builds(lambda at, x: changed(at, x), st.integers(0, 23), st.integers(0, 255)),
        max_size=20,
    )
)
def test_any_bytes_end_in_our_errors_and_in_a_session_that_answers(packets: list[bytes]) -> None:
    one = session()
    for number, packet in enumerate(packets):
        try:
            one.receive(packet, number * 0.1)
        except PeerError:
            pass
        if number * 0.1 >= one.timer():
            one.handle_timer(number * 0.1)
        asked(one, number * 0.1)


# The state machine ------------------------------------------------------------------------------

# Section 6.2, the arcs of the diagram, and section 6.8.6: what is received, and what becomes of each state.
ARCS = {
    #              DOWN  INIT  UP    as (state, diagnostic or None when nothing changes)
    ADMIN_DOWN: ((DOWN, 0), (DOWN, 3), (DOWN, 3)),
    DOWN: ((INIT, 0), (INIT, 0), (DOWN, 3)),
    INIT: ((UP, 0), (UP, 0), (UP, 0)),
    UP: ((DOWN, 0), (UP, 0), (UP, 0)),
}


@pytest.mark.parametrize("received", State)
@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_the_state_machine_has_the_arcs_of_the_rfc(state: State, received: State) -> None:
    one = brought(state)
    one.receive(said(state=received).encode(), 0.1)
    expected, diagnostic = ARCS[received][state - 1]
    assert (one.state, one.diagnostic) == (expected, diagnostic)
    assert one.next_event() == (
        None if expected is state else Changed(state, expected, Diagnostic(diagnostic))
    )
    assert one.remote_state is received


@pytest.mark.parametrize("state", [INIT, UP])
def test_a_detection_time_without_a_packet_takes_the_session_down(state: State) -> None:
    one = brought(state)
    assert one.detection_time == 3 * INTERVAL
    one.handle_timer(0.899)
    assert one.state is state
    one.handle_timer(0.9)
    assert one.next_event() == Changed(state, DOWN, Diagnostic.CONTROL_DETECTION_TIME_EXPIRED)
    # Section 6.8.1: what names the peer is forgotten; section 6.8.18: and so is its pace.
    assert (one.remote_discriminator, one.remote_min_rx_interval) == (0, 1)
    assert asked(one, 0.9)[-1].your_discriminator == 0


@pytest.mark.parametrize("received", State)
def test_a_session_that_is_held_down_stays_down_and_says_so(received: State) -> None:
    one = brought(UP)
    one.disable()
    assert one.next_event() == Changed(UP, ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN)
    packet = asked(one, 0.0)[0]
    assert (packet.state, packet.diagnostic) == (ADMIN_DOWN, 7)
    one.receive(said(state=received, poll=True).encode(), 0.1)
    assert (one.state, one.next_event()) == (ADMIN_DOWN, None)
    # Section 6.8.6 discards the packet before it comes to the Poll bit.
    assert not any(packet.final for packet in asked(one, 0.1))
    one.enable()
    assert one.next_event() == Changed(ADMIN_DOWN, DOWN, Diagnostic.ADMINISTRATIVELY_DOWN)
    one.enable()
    assert one.next_event() is None


# Timers -----------------------------------------------------------------------------------------


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


# The Poll Sequence ------------------------------------------------------------------------------


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


# Two ends ---------------------------------------------------------------------------------------

Carry = Callable[[random.Random, int], bool]


class Ends:
    """Two sessions, a clock, and a carrier with a delay of 20 ms that loses what `carry` says."""

    def __init__(self, seed: int = 1, carry: Carry = lambda rng, to: True, **values: object) -> None:
        self.rng = random.Random(seed)
        self.carry = carry
        self.now = 0.0
        self.values = values
        self.sessions = [self.fresh(), self.fresh()]
        self.on_their_way: list[tuple[float, int, bytes]] = []
        self.events: list[list[Changed]] = [[], []]
        self.refused = 0
        self.packets = 0

    def fresh(self) -> Session:
        draw = random.Random(self.rng.random()).randbytes
        return Session(draw_discriminator(draw), draw, self.now, **self.values)  # type: ignore[arg-type]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.01, 2)
            arrived = [item for item in self.on_their_way if item[0] <= self.now]
            self.on_their_way = [item for item in self.on_their_way if item[0] > self.now]
            for _, to, packet in arrived:
                try:
                    self.sessions[to].receive(packet, self.now)
                except UnexpectedMessageError:
                    self.refused += 1
            for number, one in enumerate(self.sessions):
                if self.now >= one.timer():
                    one.handle_timer(self.now)
                while (packet := one.packet_to_send(self.now)) is not None:
                    self.packets += 1
                    if self.carry(self.rng, 1 - number):
                        self.on_their_way.append((self.now + 0.02, 1 - number, packet))
                while (event := one.next_event()) is not None:
                    self.events[number].append(event)

    def states(self) -> list[State]:
        return [one.state for one in self.sessions]


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


def test_values_that_have_no_place_in_a_packet_are_refused() -> None:
    for values in ({"interval": 0}, {"interval": 2**32}, {"multiplier": 0}, {"multiplier": 256}):
        with pytest.raises(LocalError):
            session(**values)
    with pytest.raises(LocalError):
        Session(0, random.Random(1).randbytes, 0.0)
    with pytest.raises(LocalError):
        session().set_interval(0)


def test_a_drawn_discriminator_is_not_zero_and_not_taken() -> None:
    drawn = iter([bytes(4), b"\0\0\0\x07", b"\0\0\0\x09"])
    assert draw_discriminator(lambda length: next(drawn), {7}) == 9
