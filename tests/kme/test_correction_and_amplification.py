"""Cascade, Toeplitz hashing and the hash that verifies them, with strings that nobody sent over a line."""

import os

import numpy as np
import pytest

from handfast_kme import cascade
from handfast_kme.privacy import amplify, seed_bytes, verification


@pytest.mark.parametrize("percent", range(1, 9))
def test_cascade_discloses_at_most_1_15_times_the_shannon_limit(percent: int) -> None:
    rng = np.random.default_rng(percent)
    for length in (100_000, 400_000):
        alice = rng.integers(0, 2, length, np.uint8)
        errors = (rng.random(length) < percent / 100).astype(np.uint8)
        parities = cascade.Parities(alice, percent, percent / 100)
        work = cascade.correct(alice ^ errors, percent, percent / 100)
        question = next(work)
        try:
            while True:
                question = work.send(parities.answer(question))
        except StopIteration as done:
            corrected = done.value
        assert (corrected.bits == alice).all()
        assert corrected.errors == errors.sum()
        assert corrected.leaked == parities.leaked
        assert 1.0 < cascade.efficiency(corrected.leaked, length, corrected.errors) <= 1.15


def test_cascade_leaves_no_error_in_a_hundred_strings() -> None:
    """The orders of its passes are arithmetic progressions, no random ones: they must not hide errors."""
    rng, length, found = np.random.default_rng(4), 20_000, []
    for seed in range(100):
        alice = rng.integers(0, 2, length, np.uint8)
        errors = (rng.random(length) < 0.015).astype(np.uint8)
        parities = cascade.Parities(alice, seed, 0.015)
        work = cascade.correct(alice ^ errors, seed, 0.015)
        question = next(work)
        with pytest.raises(StopIteration) as done:
            while True:
                question = work.send(parities.answer(question))
        assert (done.value.value.bits == alice).all()
        found.append(cascade.efficiency(parities.leaked, length, int(errors.sum())))
    assert np.mean(found) < 1.08


@pytest.mark.parametrize("length", [*range(1, 40), 4096, 99_991, 100_000])
def test_every_pass_is_a_permutation_that_is_inverted_by_arithmetic(length: int) -> None:
    bits = np.arange(length)
    for number in range(4):
        order = cascade.Order(77, number, length)
        placed = order.applied(bits)
        assert (np.sort(placed) == bits).all()
        assert (placed == order.bits_at(bits)).all()
        assert (order.places_of(placed) == bits).all()


def test_a_question_that_cascade_never_asks_is_refused() -> None:
    parities = cascade.Parities(np.zeros(5000, np.uint8), 1, 0.02)
    for question in ((0, 3, [0]), (0, 2**20, [0]), (99, 8, [0]), (-1, 8, [0]), (0, 8, [10**6]), (0, 8, [-1])):
        with pytest.raises(ValueError, match="expected"):
            parities.answer(cascade.Question(question[0], question[1], np.asarray(question[2])))
    assert parities.leaked == 0


@pytest.mark.parametrize(("length", "secret"), [(64, 8), (100, 96), (1001, 512), (80, 80)])
def test_amplification_is_the_product_with_a_unit_and_a_toeplitz_matrix(length: int, secret: int) -> None:
    rng = np.random.default_rng(length)
    bits = rng.integers(0, 2, length, np.uint8)
    seed = os.urandom(seed_bytes(length))
    diagonals, rest = np.unpackbits(np.frombuffer(seed, np.uint8)), length - secret
    toeplitz = [[diagonals[i - j + rest - 1] for j in range(rest)] for i in range(secret)]
    matrix = np.hstack([np.eye(secret, dtype=np.int64), np.array(toeplitz).reshape(secret, rest)])
    assert amplify(bits, secret, seed) == np.packbits((matrix @ bits).astype(np.int64) % 2).tobytes()


def test_amplification_stays_exact_for_a_million_bits() -> None:
    """Some rows of a large product, counted in integers."""
    length, secret = 1_000_003, 400_000
    bits = np.frombuffer(os.urandom(length), np.uint8) & 1
    seed = os.urandom(seed_bytes(length))
    diagonals, rest = np.unpackbits(np.frombuffer(seed, np.uint8)), length - secret
    made = np.unpackbits(np.frombuffer(amplify(bits, secret, seed), np.uint8))
    for row in (0, 1, 177_777, secret - 1):
        column = diagonals[row : row + rest][::-1]
        assert made[row] == (int(np.count_nonzero(column & bits[secret:])) + int(bits[row])) & 1


def test_amplification_is_exact_where_every_sum_is_as_large_as_it_can_be() -> None:
    """All ones, and sums that differ by one from row to row: nothing averages rounding errors away."""
    length, secret = 4_000_000, 8_000
    rest = length - secret
    zeros = 2_001
    diagonals = np.ones(length - 1, np.uint8)
    diagonals[:zeros] = 0
    made = amplify(np.ones(length, np.uint8), secret, np.packbits(diagonals).tobytes())
    rows = np.arange(secret)
    sums = rest - np.maximum(0, zeros - rows) + 1
    assert made == np.packbits((sums & 1).astype(np.uint8)).tobytes()


def test_amplification_makes_no_more_bits_than_there_are() -> None:
    for secret in (0, 4, 88):
        with pytest.raises(ValueError, match="multiple of 8"):
            amplify(np.ones(80, np.uint8), secret, bytes(10))


def test_the_verification_hash_sees_one_wrong_bit() -> None:
    bits, seed = np.zeros(10_000, np.uint8), os.urandom(16)
    other = bits.copy()
    other[7777] = 1
    assert verification(bits, seed) != verification(other, seed)
