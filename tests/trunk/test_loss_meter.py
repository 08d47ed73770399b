"""The loss meter: what counts as lost, and when repairs begin and end."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_hub.trunk.loss import Loss


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


def test_repairs_begin_above_half_a_percent_and_end_below_a_tenth_without_flutter() -> None:
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


@given(st.lists(st.integers(0, 2**32) | st.integers(0, 200), max_size=80))
def test_no_numbers_bring_the_meter_out_of_its_range(numbers: list[int]) -> None:
    meter = Loss()
    for number in numbers:
        meter.count(number)
        assert 0.0 <= meter.rate <= 1.0
