"""The health tests against the standard's own steps, the cut-offs against exact arithmetic, and the
alarms that each fault of the simulated source must raise, in time."""

import asyncio
import decimal
import itertools
import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast.core.cutoffs import critical_count, proportion_cutoff
from handfast.core.entropy import STARTUP, Pool
from handfast.core.errors import EntropyError, Error
from handfast.core.health_tests import (
    BIT_WINDOW,
    BYTE_WINDOW,
    FALSE_POSITIVE_EXPONENT,
    MAX_CLAIM,
    MIN_CLAIM,
    AdaptiveProportion,
    BitAdaptiveProportion,
    BitRepetitionCount,
    HealthTests,
    RepetitionCount,
    proportion_cutoffs,
    repetition_cutoff,
)
from handfast_cpython.crypto import Crypto
from handfast_cpython.qrng_simulated import HALF_LIFE, Optics, SimulatedSource

CRYPTO = Crypto()
Test = AdaptiveProportion | BitAdaptiveProportion | BitRepetitionCount | RepetitionCount


def bits(data: bytes) -> list[int]:
    return [byte >> shift & 1 for byte in data for shift in range(7, -1, -1)]


def repetition_count(samples: Sequence[int], cutoff: int) -> int:
    """SP 800-90B section 4.4.1, its steps as they are printed."""
    a = samples[0] if samples else None
    b = 1
    for i, x in enumerate(samples[1:], 2):
        if x == a:
            b += 1
            if b >= cutoff:
                return i
        else:
            a = x
            b = 1
    return 0


def adaptive_proportion(samples: Sequence[int], cutoff: int, window: int) -> int:
    """SP 800-90B section 4.4.2, its steps as they are printed."""
    for start in range(0, len(samples), window):
        a = samples[start]
        b = 1
        for i, x in enumerate(samples[start + 1 : start + window], start + 2):
            if x == a:
                b += 1
            if b >= cutoff:
                return i
    return 0


# Streams as broken sources make them: runs of a byte, of zeros and ones, two values in turn, noise.
pieces = st.one_of(
    st.binary(max_size=90),
    st.builds(lambda byte, n: bytes([byte]) * n, st.integers(0, 255), st.integers(1, 90)),
    st.builds(lambda byte, n: bytes([byte]) * n, st.sampled_from([0, 255]), st.integers(1, 12)),
    st.builds(
        lambda a, b, n: bytes([a, b]) * n, st.integers(0, 255), st.integers(0, 255), st.integers(1, 90)
    ),
    st.builds(
        lambda seed, n: bytes((seed * i * i + i) & 255 for i in range(n)), st.integers(), st.integers(1, 400)
    ),
)
streams = st.lists(pieces, max_size=12).map(b"".join)
TESTS: list[tuple[Callable[[int], Test], tuple[int, int], Callable[[bytes, int], int]]] = [
    (RepetitionCount, (4, 11), lambda raw, cutoff: repetition_count(raw, cutoff)),
    (AdaptiveProportion, (10, 90), lambda raw, cutoff: adaptive_proportion(raw, cutoff, 512)),
    (BitRepetitionCount, (21, 81), lambda raw, cutoff: repetition_count(bits(raw), cutoff)),
    (BitAdaptiveProportion, (520, 840), lambda raw, cutoff: adaptive_proportion(bits(raw), cutoff, 1024)),
]


@pytest.mark.parametrize(
    ("test", "cutoffs", "printed"), TESTS, ids=lambda value: getattr(value, "__name__", "")
)
@settings(max_examples=300)
@given(stream=streams, sizes=st.lists(st.integers(1, 64), min_size=1, max_size=5), data=st.data())
def test_each_health_test_alarms_exactly_where_the_standard_does(
    test: Callable[[int], Test],
    cutoffs: tuple[int, int],
    printed: Callable[[bytes, int], int],
    stream: bytes,
    sizes: list[int],
    data: st.DataObject,
) -> None:
    cutoff = data.draw(st.integers(*cutoffs))
    health_test = test(cutoff)
    found = at = turn = 0
    while at < len(stream) and not found:
        size = sizes[turn % len(sizes)]
        found = health_test.test(stream[at : at + size])
        at += size
        turn += 1
    assert found == printed(stream, cutoff)


def exact_critical_count(trials: int, min_entropy: int, exponent: int) -> int:
    """The same definition in 120 decimal digits."""
    with decimal.localcontext(decimal.Context(prec=120)):
        p = Decimal(2) ** (Decimal(-min_entropy) / 1000)
        tail = Decimal(0)
        for count in range(trials, -1, -1):
            tail += math.comb(trials, count) * p**count * (1 - p) ** (trials - count)
            if tail > Decimal(2) ** -exponent:
                return count + 1
    return 0


@settings(max_examples=40, deadline=None)
@given(claim=st.integers(500, 1000), exponent=st.integers(20, 40))
def test_the_cutoffs_are_those_of_exact_arithmetic(claim: int, exponent: int) -> None:
    assert proportion_cutoff(claim, 1024, exponent) == exact_critical_count(1024, claim, exponent)
    assert proportion_cutoff(8 * claim, 512, exponent) == exact_critical_count(512, 8 * claim, exponent)
    assert repetition_cutoff(claim, exponent) == 1 + math.ceil(Decimal(exponent * 1000) / claim)


@pytest.mark.parametrize("exponent", [FALSE_POSITIVE_EXPONENT, 20])
def test_the_cutoffs_that_are_kept_are_those_that_are_computed_for_every_claim(exponent: int) -> None:
    for claim in range(MIN_CLAIM, MAX_CLAIM + 1):
        assert proportion_cutoffs(claim, exponent) == (
            proportion_cutoff(8 * claim, BYTE_WINDOW, exponent),
            proportion_cutoff(claim, BIT_WINDOW, exponent),
        )


@settings(max_examples=100, deadline=None)
@given(trials=st.integers(1, 60), min_entropy=st.integers(1, 9000), exponent=st.integers(1, 70))
def test_the_binomial_is_exact_in_small_cases_too(trials: int, min_entropy: int, exponent: int) -> None:
    assert critical_count(trials, min_entropy, exponent) == exact_critical_count(
        trials, min_entropy, exponent
    )


def test_a_claim_that_is_higher_never_has_a_higher_cutoff() -> None:
    before = None
    for claim in range(500, 1001, 20):
        cutoffs = [cutoff for _, cutoff in HealthTests(claim, 40).cutoffs()]
        assert before is None or all(now <= then for now, then in zip(cutoffs, before, strict=True))
        assert cutoffs[0] > 3 and cutoffs[2] > 14 and cutoffs[1] <= 512 and cutoffs[3] <= 1024
        before = cutoffs


def read(source: SimulatedSource, length: int) -> bytes:
    async def gather() -> bytes:
        raw = b""
        while len(raw) < length:
            raw += await source.read(length - len(raw))
        return raw

    return asyncio.run(gather())


def first_alarm(source: SimulatedSource, limit: int) -> tuple[str, int] | None:
    """The test in alarm and the byte in which it came, within `limit` bytes."""
    tests = HealthTests(int(source.min_entropy * 1000), 40)
    for _ in range(0, limit, 256):
        alarm = tests.test(read(source, 256))
        if alarm is not None:
            per_byte = 8 if "bits" in alarm.test else 1
            return alarm.test, -(-alarm.sample // per_byte) - 1
    return None


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), after=st.integers(0, 3000))
def test_a_stuck_source_is_noticed_within_a_handful_of_bytes(seed: int, after: int) -> None:
    # At a claim of 0.93 bit: 45 equal bits are 6 bytes, 7 equal bytes are 7.
    stuck_zero = first_alarm(SimulatedSource("stuck-zero", after=after, seed=seed), after + 1024)
    assert stuck_zero is not None and after + 3 <= stuck_zero[1] <= after + 6
    stuck_byte = first_alarm(SimulatedSource("stuck-byte", after=after, seed=seed), after + 1024)
    assert stuck_byte is not None and stuck_byte[0] == "repetition count over bytes"
    assert after + 5 <= stuck_byte[1] <= after + 6


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_all_zero_start_never_leaves_the_start_up_test(seed: int) -> None:
    source = SimulatedSource("zero-start", seed=seed)
    pool = Pool(CRYPTO, 3, source.model, 900, None)
    with pytest.raises(EntropyError, match="over bits' at sample 46 "):
        pool.receive(read(source, STARTUP))
    assert pool.available == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), after=st.sampled_from([0, 1500]))
def test_a_slow_bias_is_noticed_before_the_detector_has_lost_a_half_and_a_half(seed: int, after: int) -> None:
    # The cut-off of 1024 bits at a claim of 0.93 is 650. With detector 0 at half its efficiency a bit is 1
    # with two thirds' chance: 686 of 1024 expected, with a deviation of 15, when the first bit was a 1.
    alarm = first_alarm(SimulatedSource("slow-bias", seed=seed, after=after), after + 2 * HALF_LIFE)
    assert alarm is not None and "over bits" in alarm[0]
    assert after + 64 < alarm[1] < after + 2 * HALF_LIFE


def test_a_healthy_simulated_source_passes_a_million_bits() -> None:
    # At 2^-40 the chance of one alarm in it is below one in a hundred thousand.
    assert first_alarm(SimulatedSource(seed=7), 131072) is None


def test_the_claim_of_the_simulated_source_is_not_above_what_its_bits_have() -> None:
    source = SimulatedSource(seed=11)
    stream = bits(read(source, 131072))
    ones = [0, 0]
    total = [0, 0]
    for last, bit in itertools.pairwise(stream):
        total[last] += 1
        ones[last] += bit
    # The likeliest bit after each bit, as SP 800-90B section 6.3.3 looks at it.
    for last in (0, 1):
        share = ones[last] / total[last]
        chance = Optics().chance_of_one(last)
        assert abs(share - chance) < 4 * math.sqrt(0.25 / total[last])
        assert -math.log2(max(chance, 1 - chance)) >= source.min_entropy
    assert 0.9 < source.min_entropy < 0.95


@pytest.mark.parametrize(("exponent", "claim"), [(7, 1000), (9, 1000), (8, 600)])
def test_healthy_samples_raise_false_alarms_at_the_stated_rate_and_not_more(
    exponent: int, claim: int
) -> None:
    """The worst source that keeps its claim, with rates large enough to be counted."""
    generator = random.Random(exponent)
    chance = 2 ** (-claim / 1000)
    samples = 1 << 20
    stream = bytearray()
    for _ in range(samples // 8):
        byte = 0
        for _ in range(8):
            byte = byte << 1 | (generator.random() < chance)
        stream.append(byte)
    window = 128
    cutoff = proportion_cutoff(claim, 1024, exponent)
    starts = range(0, len(stream), window)
    alarms = sum(BitAdaptiveProportion(cutoff).test(bytes(stream[at : at + window])) > 0 for at in starts)
    windows = len(stream) // window
    # The printed formula counts the first sample of a window as if it were free: up to 1.5 times the rate.
    assert alarms <= windows * 1.5 * 2**-exponent + 4 * math.sqrt(windows * 2**-exponent)
    cutoff = repetition_cutoff(claim, exponent)
    runs = longest = 0
    last = 2
    for bit in bits(bytes(stream)):
        longest = longest + 1 if bit == last else 1
        last = bit
        runs += longest == cutoff
    assert 0 < runs <= samples * 2**-exponent


@settings(max_examples=60, deadline=None)
@given(stream=streams, sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5), draws=st.integers(1, 5))
def test_any_bytes_give_draws_or_an_entropy_error_and_nothing_else(
    stream: bytes, sizes: list[int], draws: int
) -> None:
    pool = Pool(CRYPTO, 3, "any", 500, None)
    at = turn = 0
    try:
        while pool.needed(draws):
            piece = (stream or b"\x00")[at : at + sizes[turn % len(sizes)]] or b"\x00"
            at += len(piece)
            turn += 1
            pool.receive(piece[: pool.needed(draws)])
        pool.reserve(draws, bytes(64 * (draws + 1)), bytes(32))
        pool.start_batch()
        assert len({pool.random(32, bytes(32)) for _ in range(draws)}) == draws
    except Error as error:
        assert type(error) is EntropyError
        assert pool.failed and pool.available == 0
    with pytest.raises(EntropyError):
        pool.random(32, bytes(32))
