"""A running installation under attack and at fault: what its hubs see, and that suspect keys are gone at
both ends."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from installation import client, installed, process, running, until

from handfast.core.errors import Error
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable, KmeUnreachable
from handfast_kme.alarms import SUSPECT_BLOCKS, Level
from handfast_kme.dials import turn_attack, turn_fault
from handfast_kme.installed import Folder
from handfast_kme.kme import Kme
from handfast_kme.metrics import readings
from handfast_kme.store import Store

ROOM = 5000


class Site:
    def __init__(self, network: Any, kmes: dict[str, Any], folder: Path) -> None:
        self.network, self.kmes = network, kmes
        self.dials = Folder(network.group.folder).dials("fibre")
        self.berlin = client(network, "hub-berlin", folder / "a", sleep=_no_sleep)
        self.vienna = client(network, "hub-vienna", folder / "b", sleep=_no_sleep)

    def history(self, node: str = "berlin") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.kmes[node].store.history("fibre")
        return found

    def stored(self) -> list[int]:
        return [kme.store.count("fibre") for kme in self.kmes.values()]

    def warnings(self, node: str) -> set[str]:
        """The metrics of one end that warn."""
        return {r.metric for r in readings(self.network) if r.node == node and r.state == "warn"}

    async def keys_come(self, least: int = 1) -> None:
        before = min(self.stored())

        async def more() -> bool:
            return min(self.stored()) >= before + least

        await until(more)

    async def blocks(self, node: str, fits: Any) -> None:
        """Wait for a block that fits, begun from now on."""
        last = max((row["block"] for row in self.history(node)), default=0)

        async def seen() -> bool:
            return any(row["block"] > last and fits(row) for row in self.history(node))

        await until(seen)


async def _no_sleep(seconds: float) -> None:
    return None


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    network, _ = installed(tmp_path, max_keys=ROOM)
    async with running(network) as kmes:
        made = Site(network, kmes, tmp_path)
        await made.keys_come()
        yield made
        await made.berlin.close()
        await made.vienna.close()


@pytest.mark.parametrize(("attack", "dial"), [("intercept", 0.5), ("blinding", 1.0), ("pns", 1.0)])
async def test_an_attack_voids_suspect_keys_at_both_ends_and_stops_deliveries(
    site: Site, attack: str, dial: float
) -> None:
    [waiting] = await site.vienna.enc_keys("hub-berlin")
    turn_attack(site.dials, attack, dial)
    for node in ("berlin", "vienna"):
        await site.blocks(node, lambda row: "voided" in row)
    with pytest.raises(KeysUnavailable) as raised:
        await site.berlin.enc_keys("hub-vienna")
    assert raised.value.reason == "qber_alarm"
    # The newest keys went first into the void: also the one that was issued and not yet fetched.
    with pytest.raises(KeyNotFound):
        await site.berlin.dec_keys("hub-vienna", [waiting.key_id])
    status = await site.berlin.status("hub-vienna")
    assert status.extension["handfast_alarm"] in ("alarm", "abort")
    turn_attack(site.dials, "none", 0.0)
    await site.keys_come()

    async def delivered() -> Any:
        try:
            return await site.berlin.enc_keys("hub-vienna")
        except KeysUnavailable:
            return None

    [key] = await until(delivered)  # type: ignore[misc]
    assert await site.vienna.dec_keys("hub-berlin", [key.key_id]) == [key]


async def test_a_long_alarm_does_not_use_up_the_one_time_keys(site: Site) -> None:
    turn_attack(site.dials, "intercept", 1.0)
    await site.blocks("berlin", lambda row: "voided" in row)
    names = [kme.store.one_time_names("fibre") for kme in site.kmes.values()]
    for _ in range(3):
        await site.blocks("berlin", lambda row: row.get("level") == "abort")
    assert [kme.store.one_time_names("fibre") for kme in site.kmes.values()] == names


@pytest.mark.parametrize(
    ("fault", "says", "metrics"),
    [
        ("misalignment", "QBER", {"qber_last_percent", "error_drift_percent"}),
        ("saturation", "bias current", {"bias_current_ratio", "vacuum_gain_ratio"}),
        ("authentication", "Wegman-Carter", {"authentication_failures"}),
        ("entropy", "health test", {"entropy_raw"}),
        ("firmware", "different keys", {"same_key_percent"}),
        ("disruption", "", {"clicks_ratio"}),
        ("ingestion", "could not be stored", {"ingested_percent"}),
    ],
)
async def test_a_fault_makes_no_key_is_said_moves_its_metric_and_ends(
    site: Site, fault: str, says: str, metrics: set[str]
) -> None:
    assert not metrics & site.warnings("vienna")
    turn_fault(site.dials, fault, 1.0, "vienna")
    for node in ("berlin", "vienna"):
        # The end at fault says what is wrong; the other one may only see that no key came of it.
        wanted = says if node == "vienna" else ""
        await site.blocks(node, lambda row, wanted=wanted: row["secret_bits"] == 0 and wanted in str(row))
    assert metrics < site.warnings("vienna")
    assert "incidents_per_hour" in site.warnings("vienna")
    turn_fault(site.dials, fault, 0.0, "vienna")
    await site.keys_come()
    [key] = await until(lambda: _asked(site))  # type: ignore[misc]
    assert await site.vienna.dec_keys("hub-berlin", [key.key_id]) == [key]


async def _asked(site: Site) -> Any:
    try:
        return await site.berlin.enc_keys("hub-vienna")
    except Error:
        return None


async def test_latency_slows_a_link_down_and_stops_it_not(site: Site) -> None:
    """F5, and M5: the tags of a block wait for one message of the slow end, 0.02 of half a second."""
    turn_fault(site.dials, "latency", 0.02, "vienna")
    await site.blocks("vienna", lambda row: row["secret_bits"] > 0)
    await site.blocks("vienna", lambda row: row["secret_bits"] > 0)
    for node in ("berlin", "vienna"):
        assert site.history(node)[-1]["authentication_seconds"] >= 0.01


# What survives the death of a KME -------------------------------------------------------------------


async def test_a_kme_that_is_killed_in_alarm_comes_back_in_alarm(tmp_path: Path) -> None:
    """kill -9 as soon as the alarm is on the disk; then there is no light, so no block could tell it anew."""
    network, file = installed(tmp_path, max_keys=ROOM)
    store = Store(Folder(network.group.folder).store("berlin"), only_look=True)
    dials = Folder(network.group.folder).dials("fibre")
    with contextlib.ExitStack() as stack:
        line, berlin, _ = [
            stack.enter_context(process(file, *option))
            for option in (("--line", "fibre"), ("--node", "berlin"), ("--node", "vienna"))
        ]
        kme = client(network, "hub-berlin", tmp_path / "a")
        await until(lambda: _true(store.count("fibre") > 20))
        turn_attack(dials, "intercept", 1.0)
        await until(lambda: _true(bool(store.history("fibre", 1)[0]["level"] == "abort")))
        for child in (berlin, line):
            child.kill()
            child.wait()
        turn_attack(dials, "none", 0.0)
        suspect = store.history("fibre", 1)[0]["block"] - SUSPECT_BLOCKS
        stack.enter_context(process(file, "--node", "berlin"))
        status = await until(lambda: _status(kme))
        assert status.extension["handfast_alarm"] == "abort"  # type: ignore[attr-defined]
        with pytest.raises(KeysUnavailable) as raised:
            await kme.enc_keys("hub-vienna")
        assert raised.value.reason == "qber_alarm"
        assert all(block < suspect for block in store.blocks("fibre"))
        # Light without Eve ends it, as it would have without the kill.
        stack.enter_context(process(file, "--line", "fibre"))
        await until(lambda: _true(store.history("fibre", 1)[0]["level"] == "clear"))
        await kme.close()
    store.close()


def test_what_a_killed_kme_did_not_void_is_void_when_it_comes_back(tmp_path: Path) -> None:
    network, _ = installed(tmp_path)
    store = Store(Folder(network.group.folder).store("berlin"))
    for block in range(1, 11):
        store.add_block("fibre", block, bytes(64), {})
    store.remember("fibre", 1.0, {"block": 10, "secret_bits": 0, "level": "alarm", "reasons": ["QBER 9.0%"]})
    store.close()
    kme = Kme(network, "berlin")
    assert kme.links["fibre"].watch.level is Level.ALARM
    assert kme.links["fibre"].watch.reasons == ("QBER 9.0%",)
    assert kme.store.blocks("fibre") == list(range(1, 10 - SUSPECT_BLOCKS))
    kme.store.close()


def test_an_alarm_is_not_forgotten_while_other_links_fill_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handfast_kme.store.HISTORY", 5)
    store = Store(tmp_path / "store.sqlite")
    store.remember("silent", 1.0, {"block": 1, "level": "alarm"})
    for block in range(20):
        store.remember("busy", 2.0, {"block": block})
    assert store.history("silent")[-1]["level"] == "alarm"
    assert [row["block"] for row in store.history("busy")] == list(range(15, 20))
    store.close()


async def _true(value: bool) -> bool:
    return value


async def _status(kme: KmeClient) -> Any:
    with contextlib.suppress(KmeUnreachable):
        return await kme.status("hub-vienna")
    return None
