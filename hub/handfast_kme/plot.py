"""Plots as SVG, written by hand: three lines and some text need no plotting library. Always labelled
simulated."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import NamedTuple

from handfast_kme.optics import Optics
from handfast_kme.rates import expected

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad")

# Published systems beside the model: kilometres, bits a second, name. Sources stand in docs/qkd.md.
PUBLISHED = (
    (10, 13.72e6, "Toshiba 10 Mb/s system"),
    (10, 115.8e6, "USTC, SNSPD"),
    (50, 1e6, "Toshiba 50 km spool"),
    (45, 304e3, "Tokyo field link"),
)


class Series(NamedTuple):
    """A line, or dots alone."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def over_distance(optics: Optics, pulses: int, longest: int = 150) -> tuple[str, str]:
    """Two plots: key rate and QBER of `optics` from 0 to `longest` km."""
    made = [(km, expected(replace(optics, length_km=float(km)), pulses)) for km in range(0, longest + 1, 2)]
    rates = [
        Series(f"blocks of {pulses:.0e} pulses", [(km, e.finite) for km, e in made if e.finite > 0]),
        Series("endless key", [(km, e.asymptotic) for km, e in made if e.asymptotic > 0]),
        Series("published systems", [(km, rate) for km, rate, _ in PUBLISHED], dots=True),
    ]
    errors = [Series("QBER", [(km, 100 * e.error_rate) for km, e in made])]
    return (
        draw("Secret key rate over distance", "km", "bits a second", rates, logarithmic=True),
        draw("QBER over distance", "km", "percent", errors),
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
    ys = [y for line in series for _, y in line.points if y > 0 or not logarithmic] or [1.0, 10.0]
    right = max(xs) or 1.0
    if logarithmic:
        low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        low = max(low, high - 9)
        marks = [(10.0**power, f"10^{power}") for power in range(low, high + 1)]
        height: Callable[[float], float] = lambda y: (math.log10(y) - low) / max(1, high - low)  # noqa: E731
    else:
        top = max(*ys, 0.0) * 1.1 or 1.0
        marks = [(top * n / 5, f"{top * n / 5:.3g}") for n in range(6)]
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
    for n in range(6):
        x, _ = place(right * n / 5, marks[0][0])
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{right * n / 5:.4g}", anchor="middle"))
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(_text(WIDTH - RIGHT - 190, TOP + 16 + 16 * number, line.name, colour=colour))
        corners = [place(x, y) for x, y in line.points]
        if line.dots:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in corners]
        elif corners:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, colour: str = "#333") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} font-size="{size}" fill="{colour}">{escape(text)}</text>'
