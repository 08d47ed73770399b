"""M1 to M10: what each end of each link did lately, beside what it should do.

All of it is read from the history of the stores, so it works beside running KMEs and tells of those that are
down.

Thresholds of Mao, Xu, Sakk and Wang where they give one (QBER below 2 %, up 99.9 % of the time, classical
authentication in 500 ms, every key ingested); the others are ours.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from handfast_kme.alarms import LIMITS, Level
from handfast_kme.block_facts import firmware_digest
from handfast_kme.database import wall_clock
from handfast_kme.entangled import Pairs, coincidences
from handfast_kme.installed import Folder
from handfast_kme.network import Network
from handfast_kme.optics import Optics
from handfast_kme.random_bits import CLAIM
from handfast_kme.rates import expected, expected_clicks
from handfast_kme.store import Store
from handfast_kme.tables import NetworkError, ProviderLink

Row = dict[str, Any]

WINDOW = 200
"""Blocks that are looked at when nobody says otherwise."""
# Seconds without a word after which an end that has work to do counts as down, or so many blocks.
_SILENCE, _BLOCKS_OF_SILENCE = 10.0, 5


@dataclass(frozen=True)
class Window:
    """The newest blocks of one end of one link, oldest first, and what should have been."""

    rows: Sequence[Row]
    link: ProviderLink
    stored: int
    """Cells in store."""
    now: float

    @property
    def optics(self) -> Optics | Pairs:
        """The light that the file promises."""
        return self.link.light()

    def values(self, name: str) -> list[float]:
        """A fact of every block that has it."""
        return [float(row[name]) for row in self.rows if row.get(name) is not None]

    def errors(self, kind: str) -> int:
        """Blocks that ended with an error of this class."""
        return sum(row.get("error") == kind for row in self.rows)

    def monitor(self, name: str) -> tuple[float, bool] | None:
        """What a monitor showed last, and whether it was off."""
        shown = [row["monitors"][name] for row in self.rows if name in row.get("monitors", {})]
        return (float(shown[-1][0]), bool(shown[-1][1])) if shown else None

    @property
    def seconds(self) -> float:
        """Wall seconds from the beginning of the first block until now."""
        first = self.rows[0]
        return max(1e-9, self.now - float(first["at"] - first["seconds"] - first["waited"]))

    @property
    def up_seconds(self) -> float:
        """Of them, those in which key was made, or could have been had there been room or light."""
        up, before = 0.0, self.now - self.seconds
        for row in self.rows:
            sound = "failure" not in row and Level[row["level"].upper()] < Level.ALARM
            up += max(0.0, min(row["at"] - before, row["waited"] + (row["seconds"] if sound else 0.0)))
            before = row["at"]
        last = self.rows[-1]
        quiet = self.now - last["at"]
        patience = max(_SILENCE, _BLOCKS_OF_SILENCE * statistics.median(row["seconds"] for row in self.rows))
        if Level[last["level"].upper()] < Level.ALARM and (self._resting or quiet < patience):
            up += quiet
        return min(up, self.seconds)

    @property
    def _resting(self) -> bool:
        windows = self.link.windows()
        dark = windows is not None and windows.until_next(self.now) > 0
        return dark or self.stored >= self.link.capacity


class Metric(NamedTuple):
    """One figure: its number in the list of the design, its name, unit last, and what it should be."""

    number: str
    name: str
    help: str
    value: Callable[[Window], float | None]
    least: float | None = None
    most: float | None = None
    off: Callable[[Window], bool | None] | None = None
    """Judges instead of the limits where chance has a say."""


def _fact(
    name: str, which: Callable[[list[float]], float], scale: float = 1.0
) -> Callable[[Window], float | None]:
    """One number for a fact of all blocks: their mean, the least, the last, ..."""

    def value(window: Window) -> float | None:
        found = window.values(name)
        return scale * which(found) if found else None

    return value


def _mean(name: str, scale: float = 1.0) -> Callable[[Window], float | None]:
    return _fact(name, statistics.fmean, scale)


def _bit_rate(window: Window) -> float | None:
    made = [row for row in window.rows if "link_seconds" in row]
    seconds = sum(row["link_seconds"] for row in made)
    return sum(row["secret_bits"] for row in made) / seconds if made else None


def _endless_rate(window: Window) -> float | None:
    optics = window.optics
    return None if isinstance(optics, Pairs) else expected(optics, window.link.pulses).asymptotic


def _click_rate(window: Window) -> float | None:
    rates = [row["clicks"] / row["link_seconds"] for row in window.rows if "clicks" in row]
    return rates[-1] if rates else None


def _click_ratio(window: Window) -> float | None:
    rate = _click_rate(window)
    if rate is None or window.link.windows() is not None:
        # A satellite shows what it was commissioned with at one moment of a pass only.
        return None
    return rate / expected_clicks(window.optics)


def _drift(window: Window) -> float | None:
    found = window.values("qber")
    if not found or window.link.windows() is not None:
        return None
    optics = window.optics
    if isinstance(optics, Pairs):
        commissioned = float(coincidences(optics).error_rates(optics)[0])
    else:
        commissioned = expected(optics, window.link.pulses).error_rate
    return 100 * abs(found[-1] - commissioned)


def _share(good: str, bad: str) -> Callable[[Window], float | None]:
    """Percent of blocks that have the fact `good`, of them and those that ended with the error `bad`."""

    def value(window: Window) -> float | None:
        failed = window.errors(bad)
        passed = sum(bool(row.get(good)) for row in window.rows)
        return 100 * passed / (passed + failed) if passed + failed else None

    return value


def _incidents(window: Window) -> float:
    """Blocks that failed or raised an alarm."""
    bad = sum("failure" in row or "voided" in row for row in window.rows)
    return 3600 * bad / window.seconds


def _monitor(name: str, label: str) -> Metric:
    def value(window: Window) -> float | None:
        shown = window.monitor(name)
        return None if shown is None else shown[0]

    def off(window: Window) -> bool | None:
        shown = window.monitor(name)
        return None if shown is None else shown[1]

    low, high = LIMITS[name]
    return Metric("M4", f"{label}_ratio", f"{name} over the commissioned one, last", value, low, high, off)


METRICS = (
    Metric("M1", "qber_percent", "QBER, mean", _mean("qber", 100), most=2.0),
    Metric("M1", "qber_x_percent", "QBER of the X basis, mean", _mean("qber_x", 100), most=2.0),
    Metric("M1", "qber_z_percent", "QBER of the Z basis, mean", _mean("qber_z", 100), most=2.0),
    Metric("M1", "qber_last_percent", "QBER of the last block",
           _fact("qber", lambda found: found[-1], 100), most=2.0),
    Metric("M2", "key_bits_per_second", "Secret bits a link second, finite blocks", _bit_rate, least=1.0),
    Metric("M2", "endless_key_bits_per_second", "What an endless key would have", _endless_rate),
    Metric("M3", "up_percent", "Time in which key was made, or room for it or light was missing",
           lambda w: 100 * w.up_seconds / w.seconds, least=99.9),
    Metric("M4", "clicks_per_second", "Detector count rate, last", _click_rate),
    Metric("M4", "clicks_ratio", "Count rate over the commissioned one", _click_ratio, 0.5, 2.0),
    _monitor("vacuum gain", "vacuum_gain"),
    _monitor("decoy gain", "decoy_gain"),
    _monitor("double click rate", "double_clicks"),
    _monitor("bias current", "bias_current"),
    Metric("M5", "authentication_seconds", "Tags over a block, sent and checked, longest",
           _fact("authentication_seconds", max), most=0.5),
    Metric("M5", "authentication_failures", "Blocks whose tags did not hold",
           lambda w: float(w.errors("AuthenticationError")), most=0.0),
    Metric("M5", "distil_seconds", "From light to a stored key, mean", _mean("seconds")),
    Metric("M6", "entropy_raw", "Min-entropy a bit of what this end drew, smallest estimate",
           _fact("entropy_raw", min), least=CLAIM / 1000),
    Metric("M6", "entropy_key", "Min-entropy a bit of the keys, smallest estimate",
           _fact("entropy_key", min), least=CLAIM / 1000),
    Metric("M7", "ingested_percent", "Blocks with a key that was stored",
           _share("secret_bits", "KeystoreError"), least=100.0),
    Metric("M8", "same_key_percent", "Blocks of which both ends made the same key",
           _share("efficiency", "KeysDiffer"), least=100.0),
    Metric("M8", "firmware_unchanged", "1 while the KME runs the code that lies on the disk",
           lambda w: float(w.rows[-1]["firmware"] == firmware_digest()), least=1.0),
    Metric("M9", "error_drift_percent", "QBER of the last block off the commissioned one", _drift, most=0.5),
    Metric("M10", "incidents_per_hour", "Blocks that failed or raised an alarm", _incidents, most=0.0),
    Metric("M10", "alarm_level", "0 clear, 1 warn, 2 alarm, 3 abort",
           lambda w: float(Level[w.rows[-1]["level"].upper()]), most=0.0),
    Metric("", "stored_keys", "Cells of 256 bits in store", lambda w: float(w.stored), least=1.0),
)  # fmt: skip


class Reading(NamedTuple):
    """A metric of one end. `state` is ok, warn, or - where there is nothing to judge."""

    node: str
    link: str
    number: str
    metric: str
    value: float | None
    wanted: str
    state: str


def readings(network: Network, blocks: int = WINDOW, now: float | None = None) -> list[Reading]:
    """Every metric of every end that ran; NetworkError before anything ran."""
    folder, found = Folder(network.group.folder), []
    for link in network.provider_link:
        for node in network.ends(link):
            path = folder.store(node.name)
            if not path.exists():
                continue
            store = Store(path, only_look=True)
            try:
                # Two rows for a block that raised an alarm; the first of them is no more than its state.
                rows = [row for row in store.history(link.name, 2 * blocks) if "seconds" in row][-blocks:]
                window = Window(rows, link, store.count(link.name), wall_clock() if now is None else now)
            finally:
                store.close()
            if rows:
                found += [_reading(node.name, link.name, metric, window) for metric in METRICS]
    if not found:
        raise NetworkError("no KME ever made a block: call 'handfast-kme apply', then 'serve'")
    return found


def prometheus(found: Sequence[Reading]) -> bytes:
    """The same as text for Prometheus, such as the textfile collector of its node exporter reads."""
    registry = CollectorRegistry()
    by_name = {metric.name: metric for metric in METRICS}
    labels = ["node", "link"]
    gauges: dict[str, Gauge] = {}
    ok = Gauge(
        "handfast_kme_ok", "1 when a metric is as it should be", [*labels, "metric"], registry=registry
    )
    for reading in found:
        if reading.value is None:
            continue
        if reading.metric not in gauges:
            metric = by_name[reading.metric]
            text = f"{metric.number} {metric.help} (simulated)".strip()
            gauges[reading.metric] = Gauge(f"handfast_kme_{metric.name}", text, labels, registry=registry)
        gauges[reading.metric].labels(reading.node, reading.link).set(reading.value)
        if reading.state != "-":
            ok.labels(reading.node, reading.link, reading.metric).set(reading.state == "ok")
    return generate_latest(registry)


def _reading(node: str, link: str, metric: Metric, window: Window) -> Reading:
    value = metric.value(window)
    state = "-"
    if value is not None and (metric.least is not None or metric.most is not None):
        off = metric.off(window) if metric.off else None
        if off is None:
            off = (metric.least is not None and value < metric.least) or (
                metric.most is not None and value > metric.most
            )
        state = "warn" if off else "ok"
    rounded = None if value is None else round(value, 4)
    return Reading(node, link, metric.number, metric.name, rounded, _wanted(metric), state)


def _wanted(metric: Metric) -> str:
    if metric.least is not None and metric.most is not None:
        return f"{metric.least:g} to {metric.most:g}"
    if metric.least is not None:
        return f"at least {metric.least:g}"
    return "" if metric.most is None else f"at most {metric.most:g}"
