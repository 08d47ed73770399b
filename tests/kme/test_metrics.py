"""M1 to M10: what a window of blocks says, what the command shows, what Prometheus reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from installation import installed
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from handfast_kme.alarms import LIMITS
from handfast_kme.block_facts import firmware_digest
from handfast_kme.cli import app
from handfast_kme.database import wall_clock
from handfast_kme.installed import Folder
from handfast_kme.metrics import METRICS, Reading, Window, readings
from handfast_kme.random_bits import CheckedRandom, entropy_of
from handfast_kme.store import Store

NUMBERS = {f"M{number}" for number in range(1, 11)}


def row(at: float, **more: Any) -> dict[str, Any]:
    """A block of five seconds that went well."""
    good = {
        "block": int(at), "at": at, "seconds": 4.0, "waited": 1.0, "secret_bits": 8000, "level": "clear",
        "reasons": [], "calm": 0, "firmware": firmware_digest(), "entropy_raw": 0.98, "entropy_key": 0.97,
        "qber": 0.006, "qber_x": 0.006, "qber_z": 0.006, "efficiency": 1.05, "phase_error": 0.03,
        "authentication_seconds": 0.01, "clicks": 300_000, "doubles": 100, "bias_current": 1.0,
        "link_seconds": 0.015, "monitors": {name: [1.0, False] for name in LIMITS},
    }  # fmt: skip
    return good | more


def failed(at: float, error: str) -> dict[str, Any]:
    gone = {"secret_bits": 0, "efficiency": None, "entropy_key": None}
    return row(at, failure="it failed", error=error, **gone)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Any, Path]:
    return installed(tmp_path)


def said(network: Any, rows: list[dict[str, Any]], now: float) -> dict[str, Reading]:
    """The readings of berlin after these blocks."""
    store = Store(Folder(network.group.folder).store("berlin"))
    for facts in rows:
        store.remember("fibre", facts["at"], {name: v for name, v in facts.items() if name != "at"})
    store.add_block("fibre", 1, bytes(320), {})
    store.close()
    return {reading.metric: reading for reading in readings(network, now=now)}


def test_every_metric_of_the_list_is_there_and_ok_on_a_good_link(place: tuple[Any, Path]) -> None:
    shown = said(place[0], [row(1000.0 + 5 * n) for n in range(20)], 1096.0)
    assert {reading.number for reading in shown.values()} >= NUMBERS
    assert [name for name, reading in shown.items() if reading.state == "warn"] == []
    assert shown["key_bits_per_second"].value == pytest.approx(8000 / 0.015, rel=1e-6)
    assert shown["up_percent"].value == 100.0
    assert shown["stored_keys"].value == 10


@pytest.mark.parametrize(
    ("worse", "metrics"),
    [
        ({"qber": 0.08, "qber_x": 0.08, "qber_z": 0.08},
         {"qber_percent", "qber_x_percent", "qber_z_percent", "qber_last_percent", "error_drift_percent"}),
        ({"secret_bits": 0}, {"key_bits_per_second"}),
        ({"level": "alarm"}, {"up_percent", "alarm_level"}),
        ({"clicks": 3000}, {"clicks_ratio"}),
        ({"monitors": {name: [9.0, True] for name in LIMITS}},
         {"vacuum_gain_ratio", "decoy_gain_ratio", "double_clicks_ratio", "bias_current_ratio"}),
        ({"authentication_seconds": 0.6}, {"authentication_seconds"}),
        ({"entropy_raw": 0.2}, {"entropy_raw"}),
        ({"entropy_key": 0.2}, {"entropy_key"}),
        ({"firmware": "another"}, {"firmware_unchanged"}),
        ({"voided": 3}, {"incidents_per_hour"}),
    ],
)  # fmt: skip
def test_each_metric_warns_of_its_own_fact(
    place: tuple[Any, Path], worse: dict[str, Any], metrics: set[str]
) -> None:
    shown = said(place[0], [row(1000.0 + 5 * n, **worse) for n in range(20)], 1096.0)
    assert {name for name, reading in shown.items() if reading.state == "warn"} == metrics


@pytest.mark.parametrize(
    ("error", "metric"),
    [
        ("AuthenticationError", "authentication_failures"),
        ("KeysDiffer", "same_key_percent"),
        ("KeystoreError", "ingested_percent"),
    ],
)
def test_each_kind_of_failure_counts_once(place: tuple[Any, Path], error: str, metric: str) -> None:
    rows = [row(1000.0 + 5 * n) for n in range(19)]
    shown = said(place[0], [*rows, failed(1095.0, error)], 1096.0)
    warns = {name for name, reading in shown.items() if reading.state == "warn"}
    assert warns == {metric, "up_percent", "incidents_per_hour"}
    assert shown[metric].value == (1.0 if metric == "authentication_failures" else 95.0)


def test_time_without_a_word_is_time_down_but_rest_is_not(place: tuple[Any, Path]) -> None:
    link = place[0].named("provider_link", "fibre")
    rows = [row(1000.0 + 5 * n) for n in range(20)]

    def up(rows: list[dict[str, Any]], now: float, stored: int = 0) -> float:
        window = Window(rows, link, stored, now)
        return window.up_seconds / window.seconds

    assert up(rows, 1096.0) == 1.0
    # A silent end is down from its last word on, and so is one between two words that lie far apart.
    assert up(rows, 1195.0) == pytest.approx(0.5)
    assert up([*rows, row(1195.0)], 1196.0) == pytest.approx(106 / 201)
    # A full store makes no blocks, and need not.
    assert up(rows, 1195.0, link.max_keys) == 1.0
    assert up([*rows, row(1195.0, waited=96.0)], 1196.0) == 1.0
    # A clock that was put back takes nothing away that was up before.
    assert up([*rows, row(1050.0)], 1096.0) > 0.9


def test_the_entropy_of_bits_is_estimated_from_their_most_common_value() -> None:
    good, weak = CheckedRandom(), CheckedRandom(1.0)
    good(4096)
    assert good.entropy is not None
    assert 0.95 < good.entropy < 1.0
    with pytest.raises(Exception, match="health test"):
        weak(4096)
    # One bit of eight is one: -log2(7/8).
    assert weak.entropy == pytest.approx(0.19, abs=0.02)
    assert entropy_of(bytes(1000)) == 0.0
    assert entropy_of(bytes(10)) is None


def test_the_command_shows_tables_json_and_text_for_prometheus(place: tuple[Any, Path]) -> None:
    network, file = place

    def command(*words: str) -> Any:
        return CliRunner().invoke(app, ["metrics", str(file), *words])

    assert command().exit_code != 0
    said(network, [row(wall_clock() - 5 + n, qber=0.03) for n in range(5)], wall_clock())
    shown = json.loads(command("--json").stdout)
    assert {r["metric"] for r in shown} == {metric.name for metric in METRICS}
    [qber] = [r for r in shown if r["metric"] == "qber_percent"]
    assert (qber["node"], qber["link"], qber["value"], qber["state"]) == ("berlin", "fibre", 3.0, "warn")
    assert qber["wanted"] == "at most 2"
    families = {f.name: f for f in text_string_to_metric_families(command("--prometheus").stdout)}
    [sample] = families["handfast_kme_qber_percent"].samples
    assert (sample.labels, sample.value) == ({"node": "berlin", "link": "fibre"}, 3.0)
    ok = {s.labels["metric"]: s.value for s in families["handfast_kme_ok"].samples}
    assert ok["qber_percent"] == 0.0
    assert ok["entropy_raw"] == 1.0
    assert "simulated" in families["handfast_kme_qber_percent"].documentation
    assert command("--json", "--prometheus").exit_code != 0
    assert "qber_percent" in command().stdout


def test_the_page_names_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/qkd.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| M")}
    for metric in METRICS:
        assert not metric.number or f"`{metric.name}`" in rows[metric.number]
