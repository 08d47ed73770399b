"""The measured QBER of Mao, Xu, Sakk, Wang (a real system, a dialled eavesdropper) beside the model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from handfast_kme.attacks import attacked
from handfast_kme.optics import Optics

DIALS = (0, 20, 40, 60, 80)
PAPER = (1.5, 4.8, 9.6, 12.6, 13.48)
PAGE = Path(__file__).parents[2] / "docs/qkd.md"


def model(dial: int, share: float, misalignment: float) -> float:
    """Mean QBER in percent when `share` of the light is split off and put back late at dial 100."""
    optics = replace(Optics(), misalignment=misalignment)
    clicks = attacked(optics, "reinsert", min(1.0, share * dial / 100))
    weights = clicks.gains(optics) * np.asarray(optics.probabilities)
    return 100 * float(weights @ clicks.error_rates(optics) / weights.sum())


def fitted(rows: Sequence[int]) -> tuple[float, float]:
    """The two numbers that are fitted, to some rows of the table."""

    def misses(values: np.ndarray) -> list[float]:
        return [model(DIALS[row], *values) - PAPER[row] for row in rows]

    share, misalignment = least_squares(misses, [0.3, 0.012], bounds=([0, 0], [1.25, 0.05])).x
    return float(share), float(misalignment)


def cells(name: str) -> list[float]:
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name}")]
    return [float(cell) for cell in line.split("|")[2:7]]


def test_the_page_shows_what_the_model_gives_and_what_it_misses() -> None:
    assert cells("paper, mean") == list(PAPER)
    everything = fitted(range(5))
    assert cells("fitted to all five") == [round(model(dial, *everything), 2) for dial in DIALS]
    predicted = []
    for row, dial in enumerate(DIALS):
        predicted.append(round(model(dial, *fitted([other for other in range(5) if other != row])), 2))
    assert cells("predicted from the other four") == predicted
    rms = float(np.sqrt(np.mean([(model(d, *everything) - m) ** 2 for d, m in zip(DIALS, PAPER)])))
    assert f"rms {rms:.2f}" in PAGE.read_text()
