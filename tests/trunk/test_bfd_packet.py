"""The control packet of BFD by the text of RFC 5880: what is taken, what is discarded, any bytes at all."""

import random

import pytest
from bfd_sessions import DOWN, INIT, OURS, THEIRS, UP, asked, brought, said, session
from hypothesis import given
from hypothesis import strategies as st

from handfast.core.errors import DecodeError, LocalError, PeerError, UnexpectedMessageError
from handfast_hub.trunk.bfd import Session, draw_discriminator
from handfast_hub.trunk.bfd_packet import PACKET_LENGTH, ControlPacket, State, decode_packet

# Section 4.1, written out by hand: version 1, no diagnostic, Up, Poll, multiplier 3, 24 bytes.
PACKET = bytes.fromhex("20e0031801020304 0a0b0c0d 000493e0 000493e0 00000000")


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
