"""A running installation under attack and at fault: what its hubs see, and that suspect keys are gone at
both ends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from installation import client, installed, running, until

from handfast.core.errors import Error
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable
from handfast_kme.dials import turn_attack, turn_fault
from handfast_kme.installed import Folder

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
    ("fault", "dial", "says"),
    [
        ("misalignment", 1.0, "QBER"),
        ("saturation", 1.0, "bias current"),
        ("authentication", 1.0, "Wegman-Carter"),
        ("entropy", 1.0, "health test"),
        ("firmware", 1.0, "different keys"),
        ("disruption", 1.0, ""),
        ("ingestion", 1.0, "could not be stored"),
    ],
)
async def test_a_fault_makes_no_key_is_said_and_ends(site: Site, fault: str, dial: float, says: str) -> None:
    turn_fault(site.dials, fault, dial, "vienna")
    for node in ("berlin", "vienna"):
        # The end at fault says what is wrong; the other one may only see that no key came of it.
        wanted = says if node == "vienna" else ""
        await site.blocks(node, lambda row, wanted=wanted: row["secret_bits"] == 0 and wanted in str(row))
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
    turn_fault(site.dials, "latency", 0.002, "vienna")
    await site.keys_come()
    assert min(row["seconds"] for row in site.history("vienna")[-1:]) > 0
