"""What a load run is judged by: the databases of both hubs, their logs, and what the network saw."""

import json
import sqlite3
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from load_plan import SHARES
from load_relay import DOWN, Span

from handfast.core.topics import CHANNEL_NAMES
from handfast_hub.trunk.policy import CLASSES, NUMBERS

_COUNT = struct.Struct(">Q")


def pack(count: int, size: int) -> bytes:
    """A reading of `size` bytes that bears its number in its class."""
    return _COUNT.pack(count).ljust(size, b".")


def unpack(data: bytes) -> int:
    """The number of a reading."""
    return int(_COUNT.unpack_from(data)[0])


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def last_counts(database: Path, table: str, column: str) -> dict[int, int]:
    """The number of the last reading in a table of a registry by channel or class."""
    connection = _open(database)
    try:
        rows = connection.execute(
            f"SELECT {column}, data FROM {table} WHERE id IN (SELECT max(id) FROM {table} GROUP BY {column})"
        )
        return {key: unpack(data) for key, data in rows}
    finally:
        connection.close()


class Check(NamedTuple):
    """One thing that has to hold, whether it does, and the numbers."""

    name: str
    held: bool
    detail: str


class Used(NamedTuple):
    """An epoch of the lane with QKD keys, by the log of a hub: from when on, and whether a key is in it."""

    at: float
    number: int
    qkd: bool


def epochs(folder: Path) -> list[Used]:
    """Every epoch that a hub's log names."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        Used(entry["timestamp"], entry["epoch"], entry["qkd"])
        for entry in entries
        if entry.get("event") == "new epoch" and entry["lane"] == "hybrid"
    ]


def judge_readings(source: Path, sink: Path) -> tuple[list[Check], dict[str, Any]]:
    """Whether what is in the sink's database is what is in the source's: all of it, once, in order."""
    numbers = {name: number for number, name in CHANNEL_NAMES.items()}
    recorded = {NUMBERS[traffic]: 0 for _, traffic, _ in SHARES}
    kinds = {numbers[channel]: NUMBERS[traffic] for channel, traffic, _ in SHARES}
    holes = 0
    connection = _open(source)
    for channel, data in connection.execute("SELECT channel, data FROM readings ORDER BY id"):
        kind = kinds[channel]
        holes += unpack(data) != recorded[kind]
        recorded[kind] += 1
    connection.close()
    arrived: Counter[int] = Counter()
    degraded: Counter[int] = Counter()
    seen: dict[int, set[int]] = {kind: set() for kind in recorded}
    disorder = twice = 0
    delays: list[float] = []
    connection = _open(sink)
    rows = connection.execute(
        "SELECT kind, degraded, data, received_at, arrived_at FROM trunk_readings ORDER BY id"
    )
    for kind, flag, data, received, came in rows:
        count = unpack(data)
        twice += count in seen[kind]
        disorder += count != arrived[kind]
        seen[kind].add(count)
        arrived[kind] += 1
        degraded[kind] += flag
        delays.append(came - received)
    connection.close()
    lost = sum(len(set(range(count)) - seen[kind]) for kind, count in recorded.items())
    secret = NUMBERS["secret"]
    delays.sort()
    total = sum(arrived.values())
    checks = [
        Check(
            "nothing is lost", not lost and not holes, f"{sum(recorded.values())} recorded, {lost} missing"
        ),
        Check(
            "nothing comes twice",
            not twice and total == sum(recorded.values()),
            f"{total} arrived, {twice} twice",
        ),
        Check("each class keeps its order", not disorder, f"{disorder} out of order"),
        Check(
            "no secret reading is degraded", not degraded[secret], f"{degraded[secret]} of {arrived[secret]}"
        ),
    ]
    numbers_found = {
        "recorded": {CLASSES[kind].name: count for kind, count in recorded.items()},
        "arrived": {CLASSES[kind].name: arrived[kind] for kind in recorded},
        "degraded": {CLASSES[kind].name: degraded[kind] for kind in recorded},
        "delay_p50": _at(delays, 0.5),
        "delay_p95": _at(delays, 0.95),
        "delay_max": _at(delays, 1.0),
    }
    return checks, numbers_found


def judge_epochs(source: Path, spans: list[Span], *, outage: bool) -> tuple[list[Check], dict[str, Any]]:
    """Whether every secret record on the network stood in an epoch that its sender logs with a QKD key.

    `outage`: the run had a time without keys, so there have to be epochs of ML-KEM alone, too.
    """
    log = epochs(source)
    wrong = 0
    for span in spans:
        # A number is used again when both hubs were killed; the newest use before the record counts.
        used = [epoch for epoch in log if epoch.number == span.epoch and epoch.at <= span.at]
        if span.degraded or span.direction != DOWN or not used or not used[-1].qkd:
            wrong += span.count
    without = sum(not epoch.qkd for epoch in log)
    count = sum(span.count for span in spans)
    check = Check(
        "no secret record under an epoch of ML-KEM alone",
        not wrong and bool(count) and (bool(without) or not outage),
        f"{count} records, {wrong} of them; {len(log)} epochs, {without} of ML-KEM alone",
    )
    return [check], {"epochs_with_qkd": len(log) - without, "epochs_without_qkd": without}


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0
