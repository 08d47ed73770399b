"""The table that Mao, Xu, Sakk and Wang measured on a Cerberis 3 beside models of
it, and what docs/qkd.md says of them and of the attacks."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from handfast_kme.attacks import attacked
from handfast_kme.measured_system import (
    DEVIATIONS,
    DIALS,
    MEANS,
    MODELS,
    Fit,
    System,
    fit,
    numbers,
    predicted,
)
from handfast_kme.optics import Optics
from handfast_kme.plot import PUBLISHED, measured_table, over_distance
from handfast_kme.rates import expected

PAGE = (Path(__file__).parents[2] / "docs/qkd.md").read_text()


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    return {name: fit(name) for name in MODELS}


def cells(name: str) -> list[float]:
    """The numbers of one row of a table of the page."""
    [line] = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return [float(cell) for cell in line.strip("|").split("|")[1:]]


def shown(values: Iterable[float]) -> object:
    """What a row of two decimals may say of these."""
    return pytest.approx(list(values), abs=0.011)


def test_the_page_shows_the_published_table_and_every_model(fits: dict[str, Fit]) -> None:
    assert cells("published, mean") == list(MEANS)
    assert cells("published, deviation") == list(DEVIATIONS)
    for name, made in fits.items():
        means, deviations = made.misses
        assert cells(f"{name}, mean") == shown([*made.means, means])
        assert cells(f"{name}, deviation") == shown([*made.deviations, deviations])


@pytest.mark.parametrize("name", ["D", "E"])
def test_each_setting_is_predicted_from_the_other_four(fits: dict[str, Fit], name: str) -> None:
    means, deviations = zip(*predicted(name, fits[name].system))
    assert cells(f"{name}, mean predicted") == shown(means)
    assert cells(f"{name}, deviation predicted") == shown(deviations)
    [said] = re.findall(rf"{name} misses a mean by ([0-9.]+) at most", PAGE)
    assert float(said) == pytest.approx(max(abs(np.subtract(means, MEANS))), abs=0.011)


def test_no_model_without_a_loop_flattens(fits: dict[str, Fit]) -> None:
    """Why A does not explain the table: its mean rises ever more steeply, the published one does not."""
    steps = {name: np.diff(made.means) for name, made in fits.items()}
    assert list(steps["A"]) == sorted(steps["A"])
    assert steps["D"][-1] < steps["D"][0] / 3
    assert np.diff(MEANS)[-1] < np.diff(MEANS)[0] / 3


def test_the_page_names_the_fitted_numbers(fits: dict[str, Fit]) -> None:
    made = numbers(fits["D"].system, "D")
    assert set(made) == {"tap", "bits", "gives_up", "returns"}
    for said in (
        f"{made['tap']:.1%}".replace("%", " %"),
        f"{made['bits']:.0f} bits",
        f"{made['gives_up']:.1%}".replace("%", " %"),
        f"probability {made['returns']:.2f}",
    ):
        assert said in PAGE


@pytest.mark.parametrize("dial", DIALS)
def test_simulated_readings_have_the_mean_and_deviation_of_the_formulas(dial: int) -> None:
    """5 sigma; the seed is fixed. Readings at the base follow each other, which widens the mean."""
    system, count = System(0.365, 1.0, 1.0, 235.0, 0.224, 0.774), 40_000
    mean, deviation = system.expected(dial)
    made = system.readings(dial, count, np.random.default_rng(dial))
    assert abs(made.mean() - mean) < 5 * 1.5 * deviation / count**0.5 + 0.02
    assert made.std() == pytest.approx(deviation, rel=0.03)


# Other numbers of the page --------------------------------------------------------------------------

ATTACKS = [
    ("none", "none", 0.0),
    ("intercept 0.1", "intercept", 0.1),
    ("intercept 0.3", "intercept", 0.3),
    ("intercept 1", "intercept", 1.0),
    ("tap 0.5", "tap", 0.5),
    ("reinsert 0.2", "reinsert", 0.2),
    ("reinsert 0.4", "reinsert", 0.4),
    ("pns 0.5", "pns", 0.5),
    ("pns 1", "pns", 1.0),
    ("blinding 1", "blinding", 1.0),
]


@pytest.mark.parametrize(("row", "attack", "dial"), ATTACKS, ids=[row for row, _, _ in ATTACKS])
def test_the_page_shows_what_each_attack_does(row: str, attack: str, dial: float) -> None:
    optics = Optics()
    small, large = (expected(optics, pulses, attacked(optics, attack, dial)) for pulses in (10**9, 3 * 10**9))
    assert cells(row) == [
        round(100 * large.error_rate, 1),
        round(large.vacuum_gain, 4),
        round(large.decoy_gain, 3),
        round(small.finite / 1000),
        round(3 * large.finite / 1000),
    ]


def test_the_plots_show_the_published_systems_and_say_that_they_are_simulated() -> None:
    rates, errors = over_distance(Optics(), 10**11)
    assert all(plot.count("(simulated)") == 1 for plot in (rates, errors, measured_table()))
    assert rates.count("<circle") == len(PUBLISHED)
    for known in PUBLISHED:
        assert known.name in rates
        assert f"{known.kilometres:g} km" in PAGE
