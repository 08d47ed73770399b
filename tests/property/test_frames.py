"""Fragments and frames under any order, loss, repetition, forgery and damage."""

import hashlib
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from handfast.core.cbor import encode
from handfast.core.errors import DecodeError
from handfast.core.frames import FrameReader, Reassembly, delimit, fragment

# As message_1 does, these begin with `true`: no payload but a fragment begins with an array of 5.
payloads = st.builds(
    lambda seed, length: b"\xf5" + random.Random(seed).randbytes(length),
    st.integers(0, 999),
    st.integers(100, 2000),
)
contents = st.binary(max_size=600) | st.builds(
    lambda pieces: b"".join([byte * count for byte, count in pieces]),
    st.lists(st.tuples(st.sampled_from((b"\x00", b"\x01", b"\xff")), st.integers(1, 300)), max_size=4),
)
rngs = st.randoms(use_true_random=False)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@given(payloads, st.integers(60, 1999), rngs)
def test_any_order_and_repetition_gives_the_payload_exactly_when_all_came(
    payload: bytes, limit: int, rng: random.Random
) -> None:
    limit = max(limit, 49 + -(-len(payload) // 16))
    parts = fragment(payload, limit, bytes(8), sha256)
    assert all(len(part) <= limit for part in parts)
    order = list(range(len(parts))) + [rng.randrange(len(parts)) for _ in range(rng.randrange(4))]
    rng.shuffle(order)
    reassembly = Reassembly(sha256)
    came: set[int] = set()
    for index in order:
        came.add(index)
        whole = reassembly.receive(parts[index], 0.0)
        if len(came) == len(parts):
            assert whole == payload
            return
        assert whole is None
    raise AssertionError("every fragment came")


@given(st.binary(max_size=80))
def test_any_bytes_give_themselves_nothing_or_our_error(data: bytes) -> None:
    reassembly = Reassembly(sha256)
    for text in (data, b"\x85" + data, b"\x85\x48" + data):
        try:
            whole = reassembly.receive(text, 0.0)
        except DecodeError:
            continue
        assert whole is None or whole == text


fields = st.tuples(
    st.sampled_from((bytes(8), b"\x01" * 8)) | st.binary(max_size=9),
    st.integers(-1, 17),
    st.integers(0, 17),
    st.sampled_from((sha256(b""), bytes(32))) | st.binary(max_size=33),
    st.binary(max_size=20) | st.integers(0, 1),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(fields, st.floats(0, 20)), max_size=30))
def test_forged_fragments_never_give_a_payload_and_never_fill_the_memory(
    forgeries: "list[tuple[tuple[object, ...], float]]",
) -> None:
    reassembly = Reassembly(sha256)
    now = 0.0
    for forgery, later in forgeries:
        now += later
        reassembly.handle_timer(now)
        try:
            assert reassembly.receive(encode(forgery), now) is None
        except DecodeError:
            pass
        timer = reassembly.timer()
        assert timer is None or now < timer <= now + 30
        assert sum([len(part) for part in reassembly._parts.values()]) <= 16384


@given(payloads, st.lists(fields, max_size=20), rngs)
def test_a_payload_under_way_survives_forgeries_of_other_payloads(
    payload: bytes, forgeries: "list[tuple[object, ...]]", rng: random.Random
) -> None:
    parts = fragment(payload, max(99, 49 + -(-len(payload) // 16)), b"\xaa" * 8, sha256)
    reassembly = Reassembly(sha256)
    assert reassembly.receive(parts[0], 0.0) is None
    mixed = [(part, True) for part in parts[1:]] + [(encode(forgery), False) for forgery in forgeries]
    rng.shuffle(mixed)
    given = None
    for text, good in mixed:
        try:
            whole = reassembly.receive(text, 1.0)
        except DecodeError:
            assert not good
        else:
            given = whole or given
    assert given == payload


@given(st.lists(contents, max_size=5), rngs)
def test_frames_are_read_back_however_the_stream_is_cut(sent: "list[bytes]", rng: random.Random) -> None:
    stream = b"".join([delimit(data) for data in sent])
    reader = FrameReader()
    got: list[bytes] = []
    while stream:
        size = rng.randrange(1, 400)
        got += reader.receive(stream[:size])
        stream = stream[size:]
    assert got == sent
    assert reader.dropped == 0


@given(contents)
def test_a_frame_has_zeros_at_its_ends_only_and_little_overhead(data: bytes) -> None:
    frame = delimit(data)
    assert frame[0] == frame[-1] == 0
    assert 0 not in frame[1:-1]
    assert len(frame) <= len(data) + 7 + (len(data) + 4) // 254


@given(st.lists(contents, min_size=1, max_size=4), st.binary(max_size=300), st.integers(0, 4))
def test_garbage_between_frames_costs_no_frame_that_a_zero_separates(
    sent: "list[bytes]", garbage: bytes, at: int
) -> None:
    at = min(at, len(sent))
    stream = [delimit(data) for data in sent]
    got = FrameReader().receive(b"".join(stream[:at]) + garbage + b"".join(stream[at:]))
    assert got[:at] == sent[:at]
    assert got[len(got) - len(sent) + at :] == sent[at:]


@given(st.lists(st.binary(max_size=400), max_size=20), st.integers(1, 300))
def test_any_stream_is_read_within_the_limit(stream: "list[bytes]", limit: int) -> None:
    reader = FrameReader(limit)
    for data in stream:
        assert all(len(payload) <= limit + 2 for payload in reader.receive(data))
        assert len(reader._buffer) <= limit + 4 + (limit + 4) // 254 + 1
