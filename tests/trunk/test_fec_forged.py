"""Forged shards and any bytes at a decoder: every lie costs little, and no genuine frame is kept back."""

import random
from contextlib import suppress

import pytest
import raptorq
from coded_frames import coded, frames_of, header, received
from hypothesis import given, settings
from hypothesis import strategies as st
from trunk_ends import Joined

from handfast.core.errors import AuthenticationError, DecodeError, PeerError, UnexpectedMessageError
from handfast_hub.trunk.fec import DECODES_AT_ONCE, GROUPS, LONGEST_FRAME, REPAIR, SOURCE, Decoder
from handfast_hub.trunk.policy import NORMAL


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
    assert set(frames) <= set(came)
    assert all(came)


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
