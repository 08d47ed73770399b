"""Groups of shards: every loss that can be repaired, and how much comes back over a lossy carrier."""

import random
from itertools import combinations
from math import inf

import pytest
from coded_frames import coded, frames_of, received
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast.core.errors import LocalError
from handfast_hub.trunk.fec import (
    LONGEST_FRAME,
    PATIENCE,
    REPAIR,
    SOURCE,
    Decoder,
    Encoder,
    is_coded,
)
from handfast_hub.trunk.lane import lane_of
from handfast_hub.trunk.loss import Loss
from handfast_hub.trunk.policy import CLASSES


@pytest.mark.parametrize("count", range(1, 9))
def test_every_loss_of_as_many_as_there_are_repairs_is_recovered(count: int) -> None:
    frames = frames_of(count, seed=count)
    datagrams = coded(frames)
    repairs = len(datagrams) - count
    assert repairs == (1 if count <= 4 else 2)
    for lost in combinations(range(len(datagrams)), repairs):
        decoder = Decoder()
        came = received(decoder, [data for at, data in enumerate(datagrams) if at not in lost])
        assert sorted(came) == sorted(frames), lost
        assert decoder.recovered == sum(at < count for at in lost)


def test_what_is_lost_beyond_that_costs_only_what_was_lost() -> None:
    frames = frames_of(8)
    datagrams = coded(frames)
    assert received(Decoder(), datagrams[3:]) == frames[3:]


def test_a_source_leaves_at_once_and_a_full_group_brings_its_repairs() -> None:
    encoder = Encoder()
    frames = frames_of(8)
    for number, frame in enumerate(frames):
        datagrams = encoder.add(frame, 0.0)
        assert datagrams[0] == bytes([SOURCE]) + bytes(4) + bytes([number]) + frame
        assert len(datagrams) == (3 if number == 7 else 1)
    assert all(datagram[0] == REPAIR for datagram in datagrams[1:])
    assert encoder.timer() == inf
    assert encoder.add(b"next", 0.0)[0][1:6] == bytes([0, 0, 0, 1, 0])


def test_a_group_that_does_not_fill_gets_its_repairs_after_a_short_time() -> None:
    encoder = Encoder()
    encoder.add(b"alone", 5.0)
    encoder.add(b"but for this", 5.01)
    assert encoder.timer() == 5.0 + PATIENCE
    assert encoder.handle_timer(5.01) == []
    repairs = encoder.handle_timer(encoder.timer())
    assert len(repairs) == 1
    assert encoder.timer() == inf
    decoder = Decoder()
    assert received(decoder, repairs) == []
    other = Encoder().add(b"alone", 5.0)
    assert received(decoder, other) == [b"alone", b"but for this"]


def test_a_recovered_frame_comes_last_and_not_again_when_it_is_late() -> None:
    frames = frames_of(8)
    datagrams = coded(frames)
    assert received(Decoder(), datagrams[1:8]) == frames[1:]
    decoder = Decoder()
    came = received(decoder, datagrams[1:])
    assert came == [*frames[1:], frames[0]]
    assert received(decoder, datagrams[:1]) == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=40),
    st.integers(1, 32),
    st.integers(1, 16),
    st.randoms(use_true_random=False),
    st.floats(0, 0.3),
)
def test_in_any_order_with_any_loss_and_repetition_no_frame_is_altered_or_repeated(
    frames: list[bytes], sources: int, repairs: int, rng: random.Random, loss: float
) -> None:
    frames = [number.to_bytes(2, "big") + frame for number, frame in enumerate(frames)]
    datagrams = coded(frames, sources, repairs)
    kept = [datagram for datagram in datagrams if rng.random() >= loss]
    arriving = kept + rng.sample(kept, len(kept) // 3)
    rng.shuffle(arriving)
    came = received(Decoder(), arriving)
    assert len(came) == len(set(came))
    assert set(came) <= set(frames)
    assert {datagram[6:] for datagram in kept if datagram[0] == SOURCE} <= set(came)


def test_frames_up_to_the_longest_are_recovered() -> None:
    frames = [bytes([number]) * size for number, size in enumerate((1, LONGEST_FRAME, 5, 6, 7, 8, 13, 1200))]
    assert sorted(received(Decoder(), coded(frames)[2:])) == sorted(frames)


def test_frames_and_groups_out_of_bounds_are_refused() -> None:
    for frame in (b"", bytes(LONGEST_FRAME + 1)):
        with pytest.raises(LocalError):
            Encoder().add(frame, 0.0)
    for sources, repairs in ((0, 2), (33, 2), (8, 0), (8, 17)):
        with pytest.raises(LocalError):
            Encoder(sources, repairs)


def test_a_coded_datagram_is_told_from_every_frame_of_a_lane() -> None:
    assert all(is_coded(datagram) for datagram in coded(frames_of(3)))
    lanes = {row.lane for row in CLASSES.values()}
    assert all(lane_of(datagram) not in lanes for datagram in coded(frames_of(3)))
    assert not any(is_coded(bytes([first])) for first in range(SOURCE))
    assert not is_coded(b"")


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_over_a_lossy_carrier_most_of_what_is_lost_comes_back(loss: float) -> None:
    rng = random.Random(7)
    encoder, decoder, meter = Encoder(), Decoder(), Loss()
    now, sent, lost, came = 0.0, 0, 0, set()
    on_their_way: list[tuple[float, bytes]] = []
    while sent < 8000:
        now += rng.expovariate(1000)
        datagrams = encoder.handle_timer(now)
        datagrams += encoder.add(sent.to_bytes(4, "big") + rng.randbytes(rng.randint(10, 200)), now)
        sent += 1
        for datagram in datagrams:
            if rng.random() < loss:
                lost += datagram[0] == SOURCE
            else:
                on_their_way.append((now + rng.uniform(0.01, 0.03), datagram))
        on_their_way.sort()
        while on_their_way and on_their_way[0][0] <= now:
            datagram = on_their_way.pop(0)[1]
            if datagram[0] == SOURCE:
                meter.count(int.from_bytes(datagram[6:10], "big"))
            for frame in decoder.receive(datagram, now):
                number = int.from_bytes(frame[:4], "big")
                assert number not in came
                came.add(number)
    missing = sum(number not in came for number in range(sent - 100))
    assert lost > 0.8 * loss * sent
    # Three or more of ten have to be lost: 1.2 % of groups at 5 %, 0.01 % at 1 %.
    assert missing < lost / 8
    assert decoder.recovered > 0.85 * lost
    assert meter.high
    assert meter.rate == pytest.approx(loss, rel=0.5)
