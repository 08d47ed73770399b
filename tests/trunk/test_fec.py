"""Groups of shards: every loss that can be repaired, every lie that must cost little, and the loss meter."""

import random
from contextlib import suppress
from itertools import combinations
from math import inf

import pytest
import raptorq
from hypothesis import given, settings
from hypothesis import strategies as st
from trunk_ends import Joined

from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    PeerError,
    UnexpectedMessageError,
)
from handfast_hub.trunk.fec import (
    DECODES_AT_ONCE,
    GROUPS,
    LONGEST_FRAME,
    PATIENCE,
    REPAIR,
    SOURCE,
    Decoder,
    Encoder,
    Frame,
    Loss,
    Way,
    is_coded,
)
from handfast_hub.trunk.lane import lane_of
from handfast_hub.trunk.policy import CLASSES, NORMAL


def frames_of(count: int, seed: int = 1, longest: int = 300) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(1, longest)) for _ in range(count)]


def coded(frames: list[bytes], sources: int = 8, repairs: int = 2) -> list[bytes]:
    """The datagrams of frames, the last group flushed."""
    encoder = Encoder(sources, repairs)
    datagrams = [datagram for frame in frames for datagram in encoder.add(frame, 0.0)]
    return datagrams + encoder.handle_timer(1.0)


def received(decoder: Decoder, datagrams: list[bytes], now: float = 0.0) -> list[bytes]:
    return [
        frame.data
        for datagram in datagrams
        for frame in decoder.receive(datagram, now)
        if frame.way is not Way.LATE
    ]


# What a group repairs ---------------------------------------------------------------------------


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


def test_a_recovered_frame_says_that_it_was_lost() -> None:
    frames = frames_of(8)
    came = [frame for datagram in coded(frames)[1:] for frame in Decoder().receive(datagram, 0.0)]
    assert came == [Frame(frame, Way.DIRECT) for frame in frames[1:]]
    decoder = Decoder()
    came = [frame for datagram in coded(frames)[1:] for frame in decoder.receive(datagram, 0.0)]
    assert came[-1] == Frame(frames[0], Way.RECOVERED)


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


# What a liar can do -----------------------------------------------------------------------------


def header(kind: int, group: int, index: int) -> bytes:
    return bytes([kind]) + group.to_bytes(4, "big") + bytes([index])


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        header(SOURCE, 1, 0),
        header(REPAIR, 1, 8),
        header(0xF2, 1, 0) + b"frame",
        header(SOURCE, 1, 32) + b"frame",
        header(SOURCE, 1, 0) + bytes(LONGEST_FRAME + 1),
        header(REPAIR, 1, 8) + bytes([8]),
        header(REPAIR, 1, 8) + bytes([8]) + bytes(15),
        header(REPAIR, 1, 8) + bytes([8]) + bytes(LONGEST_FRAME + 10),
        header(REPAIR, 1, 0) + bytes([0]) + bytes(16),
        header(REPAIR, 1, 7) + bytes([8]) + bytes(16),
        header(REPAIR, 1, 24) + bytes([8]) + bytes(16),
        header(REPAIR, 1, 33) + bytes([33]) + bytes(16),
    ],
)
def test_what_is_no_coded_datagram_is_refused(datagram: bytes) -> None:
    with pytest.raises(DecodeError):
        Decoder().receive(datagram, 0.0)


def mutated(rng: random.Random, datagram: bytes) -> bytes:
    changed = bytearray(datagram)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.choice([len(changed), rng.randint(0, len(changed))])])


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_end_in_our_errors_and_no_genuine_source_is_kept_back(
    rng: random.Random, strangers: list[bytes]
) -> None:
    frames = frames_of(24, seed=rng.randrange(100), longest=60)
    genuine = coded(frames)
    arriving = genuine + [mutated(rng, rng.choice(genuine)) for _ in range(30)] + strangers
    arriving += [
        header(rng.choice([SOURCE, REPAIR]), rng.randrange(4), rng.randrange(12)) + data for data in strangers
    ]
    rng.shuffle(arriving)
    decoder, came = Decoder(), []
    for datagram in arriving:
        try:
            came += decoder.receive(datagram, 0.0)
        except PeerError:
            pass
    assert set(frames) <= {frame.data for frame in came}
    assert all(frame.data for frame in came)


def test_a_forged_shard_spoils_the_recovery_of_its_own_group_alone() -> None:
    frames = frames_of(16, longest=100)
    datagrams = coded(frames)
    decoder = Decoder()
    forged = header(REPAIR, 0, 8) + bytes([8]) + bytes(400)
    # Eight shards are there, one of them forged: what is computed of them is nonsense, if it is anything.
    assert received(decoder, [forged, *datagrams[1:8]])[:7] == frames[1:8]
    for repair in datagrams[8:10]:
        with suppress(UnexpectedMessageError):
            assert decoder.receive(repair, 0.0) == []
    assert decoder.spoilt == 1
    # The group beside it misses two, and gets them back.
    assert sorted(received(decoder, datagrams[12:])) == sorted(frames[8:])


def test_a_repair_that_contradicts_its_group_ends_the_recovery_of_that_group() -> None:
    datagrams = coded(frames_of(8))
    for forged in (datagrams[8] + bytes(8), datagrams[8][:6] + bytes([7]) + datagrams[8][7:]):
        decoder = Decoder()
        received(decoder, datagrams[2:9])
        with pytest.raises((UnexpectedMessageError, DecodeError)):
            decoder.receive(forged[:5] + b"\x09" + forged[6:], 0.0)
        assert decoder.spoilt == 1
        assert received(decoder, datagrams[9:]) == []


@pytest.mark.parametrize(
    "shard", [b"\0\x0f" + bytes(14), b"\0\0" + bytes(14), b"\0\x05frame" + b"\0" * 8 + b"x"]
)
def test_a_recovered_shard_that_holds_no_frame_is_not_given_out(shard: bytes) -> None:
    [_, repair] = raptorq.Encoder.with_defaults(shard, len(shard)).get_encoded_packets(1)
    decoder = Decoder()
    assert decoder.receive(header(REPAIR, 0, 1) + b"\x01" + repair[4:], 0.0) == []
    assert (decoder.spoilt, decoder.recovered) == (1, 0)
    # It is counted once, whatever else contradicts it.
    for frame in (b"one", b"another"):
        assert received(decoder, [header(SOURCE, 0, 0) + frame]) == [frame]
    assert decoder.spoilt == 1


def test_a_forged_source_keeps_no_genuine_one_back() -> None:
    frames = frames_of(8)
    datagrams = coded(frames)
    decoder = Decoder()
    assert received(decoder, [header(SOURCE, 0, 0) + b"forged"]) == [b"forged"]
    assert received(decoder, datagrams) == frames


def test_what_a_forged_shard_brings_out_is_refused_by_the_lane() -> None:
    joined = Joined()
    joined.run(1.0)
    for number in range(8):
        joined.ends[0].send(NORMAL, b"reading %d" % number, joined.now)
    sealed = joined.ends[0].frames_to_send(joined.now)
    datagrams = coded(sealed)
    datagrams[4] = datagrams[4][:-1] + bytes([datagrams[4][-1] ^ 1])
    came = received(Decoder(), datagrams[1:])
    assert len(came) == 8
    joined.errors.clear()
    for frame in came:
        joined.deliver(1, frame)
    # The one that was altered, and the one that was computed from it.
    assert [type(error) for error in joined.errors] == [AuthenticationError] * 2
    assert len(joined.data(1)) == 6


def test_memory_is_bounded_whatever_the_numbers_say() -> None:
    decoder = Decoder()
    rng = random.Random(1)
    for _ in range(5000):
        decoder.receive(header(SOURCE, rng.randrange(2**32), rng.randrange(32)) + rng.randbytes(20), 0.0)
    assert len(decoder._groups) == GROUPS
    # A number from far ahead moves no window: what is genuine is still repaired.
    frames = frames_of(8)
    assert sorted(received(decoder, coded(frames)[2:])) == sorted(frames)


def test_time_for_decoding_is_bounded_and_sources_still_pass() -> None:
    decoder = Decoder()
    shard = bytes(range(16))
    frames = 0
    for number in range(1000):
        frames += len(decoder.receive(header(REPAIR, number, 1) + bytes([1]) + shard, 0.0))
    # Each of these is enough for one decoding, and nearly all bring out nonsense.
    assert decoder.spoilt + decoder.recovered <= DECODES_AT_ONCE
    genuine = coded(frames_of(16))
    assert received(decoder, genuine[2:10]) == frames_of(16)[2:8]
    # A tenth of a second later half of the budget is there again.
    assert sorted(received(decoder, genuine[12:], now=0.1)) == sorted(frames_of(16)[8:])


# The carrier ------------------------------------------------------------------------------------


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
            for frame in decoder.receive(on_their_way.pop(0)[1], now):
                number = int.from_bytes(frame.data[:4], "big")
                assert (number in came) == (frame.way is Way.LATE)
                came.add(number)
                meter.count(number, frame.way)
    missing = sum(number not in came for number in range(sent - 100))
    assert lost > 0.8 * loss * sent
    # Three or more of ten have to be lost: 1.2 % of groups at 5 %, 0.01 % at 1 %.
    assert missing < lost / 8
    assert decoder.recovered > 0.85 * lost
    assert meter.high
    assert meter.rate == pytest.approx(loss, rel=0.5)


# The meter --------------------------------------------------------------------------------------


def metered(meter: Loss, rng: random.Random, loss: float, count: int, start: int = 0) -> list[bool]:
    found = []
    for number in range(start, start + count):
        if rng.random() >= loss:
            meter.count(number)
            found.append(meter.high)
    return found


@pytest.mark.parametrize(("loss", "expected"), [(0.0, 0.0), (0.002, 0.002), (0.02, 0.02), (0.3, 0.3)])
def test_the_meter_finds_the_loss(loss: float, expected: float) -> None:
    meter = Loss()
    metered(meter, random.Random(3), loss, 20_000)
    assert meter.rate == pytest.approx(expected, rel=0.4, abs=1e-9)
    assert meter.high == (loss > 0.005)


def test_repairs_begin_above_half_a_percent_and_end_below_a_tenth_of_that_without_flutter() -> None:
    meter, rng = Loss(), random.Random(5)
    assert not any(metered(meter, rng, 0.0005, 20_000))
    assert metered(meter, rng, 0.02, 5_000, 20_000)[-1]
    # Between the two thresholds it stays as it was.
    assert all(metered(meter, rng, 0.003, 10_000, 25_000))
    assert not metered(meter, rng, 0.0, 5_000, 35_000)[-1]


def test_numbers_out_of_order_or_repeated_are_no_loss() -> None:
    meter, rng = Loss(), random.Random(5)
    numbers = sorted(range(5000), key=lambda number: number + rng.uniform(0, 30))
    for number in numbers:
        meter.count(number)
        meter.count(number)
    assert meter.rate == 0.0


def test_a_long_gap_counts_in_full_and_at_once() -> None:
    meter = Loss()
    meter.count(10**6)
    assert meter.rate == 0.0
    meter.count(2 * 10**9)
    assert meter.rate == pytest.approx(1.0)


def test_a_new_epoch_counts_what_was_in_the_window_and_begins_anew() -> None:
    meter = Loss()
    for _ in range(100):
        for number in range(30):
            if number != 17:
                meter.count(number)
        meter.restart()
    assert meter.rate == pytest.approx(1 / 30, rel=0.2)


def test_a_recovered_number_is_a_lost_one_until_it_comes_late() -> None:
    lost, late = Loss(), Loss()
    for number in range(2000):
        way = Way.RECOVERED if number % 10 == 3 else Way.DIRECT
        for meter in (lost, late):
            meter.count(number, way)
        if number % 10 == 9:
            late.count(number - 6, Way.LATE)
            # Nobody has proven that these came.
            lost.count(number + 30, Way.LATE)
    assert lost.rate == pytest.approx(0.1 * (1 - 0.999**1936), rel=0.1)
    assert late.rate == 0.0


def test_a_late_number_that_nobody_recovered_counts_for_nothing() -> None:
    meter = Loss()
    for number in range(500):
        if number % 10 != 3:
            meter.count(number)
        if number % 10 == 9:
            meter.count(number - 6, Way.LATE)
    assert meter.rate > 0.03


@given(
    st.lists(st.integers(0, 2**32) | st.integers(0, 200) | st.none(), max_size=80),
    st.randoms(use_true_random=False),
)
def test_no_numbers_bring_the_meter_out_of_its_range(numbers: list[int | None], rng: random.Random) -> None:
    meter = Loss()
    for number in numbers:
        if number is None:
            meter.restart()
        else:
            meter.count(number, rng.choice(list(Way)))
        assert 0.0 <= meter.rate <= 1.0
