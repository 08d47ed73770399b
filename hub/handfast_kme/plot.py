"""Plots as SVG, written by hand: some lines, dots and text need no plotting library. Always labelled
simulated."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import NamedTuple

from handfast_kme import measured_system
from handfast_kme.optics import Optics
from handfast_kme.rates import expected

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad")


class Published(NamedTuple):
    """A figure that somebody published for a system of their own."""

    kilometres: float
    rate: float
    """Secret bits a second."""
    name: str
    source: str


# Figures of abstracts and of one comparison table, for other detectors, losses, blocks and proofs than ours.
PUBLISHED = (
    Published(10, 115.8e6, "Li; Grünenfelder (SNSPD)", "Li: arXiv 2307.02364"),
    Published(10, 13.72e6, "Yuan (Toshiba)", "arXiv 1807.04484"),
    Published(10, 64e6, "", "Grünenfelder: arXiv 2210.16126"),
    Published(102.4, 3.0e6, "Grünenfelder (SNSPD)", "arXiv 2210.16126"),
    Published(35, 2.2e6, "", "Lucamarini T12, like the next three"),
    Published(50, 1.09e6, "", ""),
    Published(65, 0.40e6, "", ""),
    Published(80, 0.12e6, "Lucamarini (T12)", "table 1 of Islam, Science Advances 3, e1701491"),
    Published(45, 304e3, "Tokyo", "Toshiba Research Europe, Tokyo QKD network 2010"),
    Published(150, 2.5, "Stucki (COW, 43 dB)", "Optics Express 17, 13326"),
)


class Series(NamedTuple):
    """A line, or dots alone, each with a label and a deviation up and down if there are any."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    labels: Sequence[str] = ()
    deviations: Sequence[float] = ()
    dashed: bool = False


def over_distance(optics: Optics, pulses: int, longest: int = 150) -> tuple[str, str]:
    """Two plots: key rate and QBER of `optics` from 0 to `longest` km."""
    made = [(km, expected(replace(optics, length_km=float(km)), pulses)) for km in range(0, longest + 1, 2)]
    rates = [
        Series(f"ours, blocks of {pulses:.0e} pulses", [(km, e.finite) for km, e in made if e.finite > 0]),
        Series("ours, endless key", [(km, e.asymptotic) for km, e in made if e.asymptotic > 0]),
        Series(
            "ours, endless key, no dead time",
            [(km, e.without_dead_time) for km, e in made if e.without_dead_time > 0],
            dashed=True,
        ),
        Series(
            "published systems (docs/qkd.md)",
            [(known.kilometres, known.rate) for known in PUBLISHED],
            dots=True,
            labels=[known.name for known in PUBLISHED],
        ),
    ]
    errors = [Series("QBER", [(km, 100 * e.error_rate) for km, e in made])]
    return (
        draw("Secret key rate over distance", "km", "bits a second", rates, logarithmic=True),
        draw("QBER over distance", "km", "percent", errors),
    )


def measured_table() -> str:
    """The table of measured_system.py: QBER and deviation by dial, published and modelled."""
    fits = {name: measured_system.fit(name) for name in "AD"}
    dials, d = measured_system.DIALS, fits["D"]
    # Beside each other: half a percent of the dial apart.
    published = [(dial - 0.5, mean) for dial, mean in zip(dials, measured_system.MEANS, strict=True)]
    modelled = [(dial + 0.5, mean) for dial, mean in zip(dials, d.means, strict=True)]
    smooth = [(float(dial), d.system.expected(dial)[0]) for dial in range(81)]
    static = [(float(dial), fits["A"].system.expected(dial)[0]) for dial in range(81)]
    return draw(
        "QBER of a tapped Cerberis 3, mean and deviation",
        "dial of the device",
        "percent",
        [
            Series("model D: coherent replica, loop", smooth),
            Series("model A: static, no loop", static, dashed=True),
            Series("model D, deviation", modelled, dots=True, deviations=d.deviations),
            Series("published", published, dots=True, deviations=measured_system.DEVIATIONS),
        ],
    )


def over_time(link: str, history: Sequence[dict[str, object]]) -> tuple[str, str]:
    """Two plots of what a link did: key rate and QBER, with the thresholds."""
    rows = [row for row in history if "qber" in row]
    start = float(str(rows[0]["at"])) if rows else 0.0
    points = [(float(str(row["at"])) - start, row) for row in rows]
    rate = [(at, float(str(row["secret_bits"])) / float(str(row["link_seconds"]))) for at, row in points]
    qber = [(at, 100 * float(str(row["qber"]))) for at, row in points]
    end = max([at for at, _ in points], default=1.0)
    limits = [
        Series(f"{name} {at} %", [(0.0, at), (end, at)])
        for name, at in (("warn", 3.0), ("alarm", 8.0), ("abort", 11.0))
    ]
    return (
        draw(f"Key rate of {link}", "seconds", "bits a link second", [Series("key rate", rate)]),
        draw(f"QBER of {link}", "seconds", "percent", [Series("QBER", qber), *limits]),
    )


def draw(title: str, across: str, up: str, series: Sequence[Series], logarithmic: bool = False) -> str:
    """One plot as an SVG document."""
    xs = [x for line in series for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in series for y in _heights(line) if y > 0 or not logarithmic] or [1.0, 10.0]
    right = max(xs) or 1.0
    if logarithmic:
        low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        low = max(low, high - 10)
        marks = [(10.0**power, f"10^{power}") for power in range(low, high + 1)]
        height: Callable[[float], float] = lambda y: (math.log10(y) - low) / max(1, high - low)  # noqa: E731
    else:
        step = _step(max(*ys, 0.0) or 1.0)
        top = step * math.ceil((max(*ys, 0.0) or 1.0) / step)
        marks = [(step * n, f"{step * n:.4g}") for n in range(round(top / step) + 1)]
        height = lambda y: y / top  # noqa: E731

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * x / right,
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, height(y))),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, f"{title} (simulated)", size=15),
        _text(WIDTH / 2, HEIGHT - 12, across, anchor="middle"),
        _text(LEFT, TOP - 4, up),
    ]
    for value, label in marks:
        _, y = place(0.0, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, label, anchor="end"))
    apart = _step(right)
    for n in range(math.floor(right / apart) + 1):
        x, _ = place(apart * n, marks[0][0])
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{apart * n:.4g}", anchor="middle"))
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(_text(WIDTH - RIGHT - 200, TOP + 16 + 16 * number, line.name, colour=colour))
        corners = [place(x, y) for x, y in line.points]
        if line.dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in corners]
        elif corners:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
            dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
            )
        for (x, y), label in zip(corners, line.labels, strict=False):
            # Towards the middle, and clear of the line that the dots follow.
            near = (x - 8, "end") if x > WIDTH / 2 else (x + 8, "start")
            parts.append(_text(near[0], y + 9, label, anchor=near[1], size=11, colour=colour))
        for (x, y), deviation in zip(line.points, line.deviations, strict=False):
            (across_at, top_at), (_, bottom_at) = place(x, y + deviation), place(x, y - deviation)
            bar = f"M{across_at:.1f} {top_at:.1f}V{bottom_at:.1f}"
            parts.append(f'<path d="{bar}" stroke="{colour}" stroke-width="1.5"/>')
    return "\n".join([*parts, "</svg>", ""])


def _step(largest: float) -> float:
    """A round step that divides an axis into four to nine parts."""
    power = 10.0 ** math.floor(math.log10(largest / 4))
    return power * max(part for part in (1, 2, 5) if part * power <= largest / 4)


def _heights(line: Series) -> list[float]:
    """Every height that must be seen."""
    deviations = line.deviations or [0.0] * len(line.points)
    return [y + deviation for (_, y), deviation in zip(line.points, deviations, strict=True)]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = "#333") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} font-size="{size}" fill="{colour}">{escape(text)}</text>'
