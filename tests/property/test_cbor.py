"""CBOR: any bytes in give DecodeError or a value that is those bytes again; cbor2 is the judge."""

import random
from collections.abc import Iterator

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vector_file import load

from handfast.core import cbor
from handfast.core.errors import DecodeError

INPUTS = 220_000

keys = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=8) | st.binary(max_size=8)
scalars = st.none() | st.booleans() | keys
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)


def judged(value: object, depth: int = 0) -> bytes:
    """The deterministic encoding by way of cbor2; ValueError for a value that is not in our subset.

    cbor2's own canonical order is the older one of RFC 7049 (shorter keys first), so maps are put
    together here.
    """
    if value is None or isinstance(value, (bool, str, bytes)):
        return cbor2.dumps(value)
    if isinstance(value, int) and -(2**64) <= value < 2**64:
        return cbor2.dumps(value)
    if depth == 8:
        raise ValueError("too deep")
    if isinstance(value, list):
        return head(0x80, len(value)) + b"".join([judged(element, depth + 1) for element in value])
    if isinstance(value, dict):
        if any(isinstance(key, bool) or not isinstance(key, (int, str, bytes)) for key in value):
            raise ValueError("a key of another type")
        pairs = sorted([judged(key), judged(element, depth + 1)] for key, element in value.items())
        return head(0xA0, len(value)) + b"".join([key + element for key, element in pairs])
    raise ValueError("a value of another type")


def head(major: int, count: int) -> bytes:
    encoded = cbor2.dumps(count)
    return bytes((encoded[0] | major,)) + encoded[1:]


def acceptable(data: bytes) -> bool:
    """Whether cbor2 reads `data` and gives a value of our subset whose one encoding is `data`."""
    try:
        return judged(cbor2.loads(data)) == data
    except (cbor2.CBORDecodeError, ValueError, UnicodeEncodeError):
        return False


def depth(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max([depth(element) for element in inner], default=0) if isinstance(inner, list) else 0


@given(values)
def test_every_value_has_the_encoding_that_cbor2_gives_it_and_is_read_back(value: object) -> None:
    if depth(value) <= cbor.MAX_DEPTH:
        encoded = cbor.encode(value)
        assert encoded == judged(value)
        assert cbor2.loads(encoded) == value
        assert cbor.decode(encoded) == value


@given(st.lists(values, max_size=4))
def test_a_sequence_is_read_back(items: "list[object]") -> None:
    if all(depth(item) <= cbor.MAX_DEPTH for item in items):
        encoded = cbor.encode_sequence(*items)
        assert encoded == b"".join([judged(item) for item in items])
        assert cbor.decode_sequence(encoded) == items


@settings(max_examples=2000)
@given(st.binary(max_size=64))
@example(b"")
@example(b"\xa1\x80\x00")
@example(b"\xa2\x01\x00\xf5\x00")
@example(b"\x9b" + b"\xff" * 8)
@example(b"\x81" * 1000)
def test_ours_accepts_exactly_what_cbor2_calls_deterministic(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_thousand_inputs_give_our_error_or_themselves(seed: int) -> None:
    accepted = 0
    for data in inputs(random.Random(seed), INPUTS // 4):
        accepted += check(data)
    # The generator is of use only if both outcomes are common.
    assert INPUTS // 40 < accepted < INPUTS // 5


def outcome(data: "bytes | memoryview") -> "tuple[object, int] | None":
    """What is read at the beginning and where it ends; None when that is refused."""
    try:
        value, end = cbor.read(data, 0)
    except DecodeError:
        value, end = None, 0
    try:
        start, after = cbor.content(data, 0)
    except DecodeError:
        assert not isinstance(value, (bytes, memoryview))
    else:
        assert after == end and bytes(data[start:after]) == value
    return (value, end) if end else None


def check(data: bytes) -> bool:
    """Decode `data`, compare with the judge, and say whether it was accepted."""
    assert outcome(memoryview(data)) == outcome(data), data.hex()
    try:
        value = cbor.decode(data)
    except DecodeError:
        assert not acceptable(data), data.hex()
        return False
    assert cbor.encode(value) == data, data.hex()
    assert acceptable(data), data.hex()
    return True


def inputs(rng: random.Random, count: int) -> Iterator[bytes]:
    """Random bytes, near-CBOR, good vectors, and mutations of the last two."""
    good = [data for vector in load("cbor") if vector.expect == "success" for data in vector.fields.values()]
    for number in range(count):
        kind = number % 4
        if kind == 0:
            yield rng.randbytes(rng.randrange(1, 24))
        elif kind == 1:
            yield near_cbor(rng, 0)
        else:
            data = bytearray(rng.choice(good) if kind == 2 else near_cbor(rng, 0))
            for _ in range(rng.randrange(1, 3)):
                mutate(rng, data)
            yield bytes(data)


def near_cbor(rng: random.Random, level: int) -> bytes:
    """An item of any major type; one in ten heads or lengths is wrong in some way."""
    major = rng.choice((0, 0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 7)) if level < 9 else 0
    count = rng.choice((0, 1, 1, 2, 3, 23, 24, 255, 256)) if level < 2 else rng.randrange(3)
    if major in (0, 1):
        return head(
            major << 5, rng.choice((0, 23, 24, 255, 256, 65536, 2**32 - 1, 2**64 - 1, rng.getrandbits(64)))
        )
    if major == 7:
        return bytes((rng.choice((0xF4, 0xF5, 0xF6, 0xF6, rng.randrange(0xE0, 0x100))),))
    if major == 6:
        return rng.choice(
            (near_cbor(rng, level + 1), head(0xC0, rng.getrandbits(5)) + near_cbor(rng, level + 1))
        )
    begin = head(major << 5, count)
    if rng.random() < 0.05:
        begin = bytes((major << 5 | rng.choice((24, 25, 26, 27, 28, 31)),)) + rng.randbytes(1)
    if major == 2:
        return begin + rng.randbytes(count)
    if major == 3:
        return begin + (b"a" * count if rng.random() < 0.9 else rng.randbytes(count))
    count = min(count, 3)
    begin = head(major << 5, count) if rng.random() < 0.97 else begin
    if major == 4:
        return begin + b"".join([near_cbor(rng, level + 1) for _ in range(count)])
    pairs = [near_cbor(rng, 9) + near_cbor(rng, level + 1) for _ in range(count)]
    return begin + b"".join(sorted(pairs) if rng.random() < 0.8 else pairs)


def mutate(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data)) if data else 0
    kind = rng.randrange(5)
    if kind == 0 and data:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data.insert(at, rng.randrange(256))
    elif kind == 2 and data:
        del data[at]
    elif kind == 3:
        data[at:at] = data[at : at + rng.randrange(1, 6)]
    elif data:
        data[at] = rng.randrange(256)
