"""A trunk's keys out of KMEs that relay: two ways, alarms on either, and what is held ahead."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from installation import until
from relays import DIAMOND, World, ready, world

from handfast_hub.trunk.key_source import KmeSource
from handfast_hub.trunk.kme_answers import KeysUnavailable, KmeRefused
from handfast_kme import link_states
from handfast_kme.alarms import Level


@pytest.fixture
async def diamond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(link_states, "SPREAD", 0.1)
    async with world(tmp_path, DIAMOND) as here:
        yield here


async def test_a_trunk_that_asks_for_two_ways_gets_no_key_over_one(diamond: World) -> None:
    first, last = await diamond.sae("a"), await diamond.sae("d")
    await ready(first, "sae-d", 20, ways=2)
    ours = KmeSource(first, "sae-d", 60.0, disjoint_paths=2)
    theirs = KmeSource(last, "sae-a", 60.0, disjoint_paths=2)
    key_id, key = await ours.enc_key()
    assert await theirs.dec_key(key_id) == key
    assert all(count == 58 for link in DIAMOND for count in diamond.cells(link))
    for kme in "cd":
        diamond.kmes[kme].store.void("cd", 0)
    with pytest.raises(KeysUnavailable) as raised:
        await ours.enc_key()
    assert raised.value.reason == "key_exhausted"


async def test_a_kme_without_two_ways_refuses_in_the_words_of_the_standard(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc"), ("ac",)) as here:
        source = KmeSource(await here.sae("a"), "sae-c", 60.0, disjoint_paths=2)
        with pytest.raises(KmeRefused, match="not all extension_mandatory request options could be met"):
            await source.enc_key()


async def test_an_alarm_is_heard_although_the_next_key_would_go_another_way(diamond: World) -> None:
    first, last = await diamond.sae("a"), await diamond.sae("d")
    await ready(first, "sae-d", 20, ways=2)
    ours, theirs = (KmeSource(sae, peer, 0.1, reserve=4) for sae, peer in ((first, "sae-d"), (last, "sae-a")))
    alarms: list[str] = []
    watching = asyncio.create_task(ours.watch(lambda: alarms.append("alarm")))
    try:
        ids: list[bytes] = []

        async def held() -> bool:
            ids[:] = await ours.top_up()
            return len(ids) == 4

        await until(held)
        await theirs.hold(ids)
        assert theirs.ids() == ids
        assert alarms == []
        # A link of the way that is not taken, seen at its far end first.
        for node in "cd":
            diamond.kmes[node].links["cd"].watch.level = Level.ALARM

        async def heard() -> bool:
            return bool(alarms)

        await until(heard)
        assert ours.ids() == []
        assert ours.supply()["alarmed_links"] == ["cd"]
        key_id, key = await ours.enc_key()
        assert await theirs.dec_key(key_id) == key
        assert alarms == ["alarm"]
        # Who wants two ways gets nothing now, and hears why.
        with pytest.raises(KeysUnavailable) as raised:
            await KmeSource(first, "sae-d", 60.0, disjoint_paths=2).enc_key()
        assert raised.value.reason == "qber_alarm"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_an_alarm_that_ended_between_two_looks_is_heard_all_the_same(diamond: World) -> None:
    first = await diamond.sae("a")
    await ready(first, "sae-d", 20)
    source = KmeSource(first, "sae-d", 60.0, reserve=4)
    alarms: list[str] = []

    async def look() -> None:
        source._saw(await first.status("sae-d"), lambda: alarms.append("alarm"))

    async def level(wanted: Level, said: list[str]) -> None:
        for node in "cd":
            diamond.kmes[node].links["cd"].watch.level = wanted

        async def is_said() -> bool:
            return (await first.status("sae-d")).extension["handfast_alarmed_links"] == said

        await until(is_said)

    await look()
    assert len(await source.top_up()) == 4
    await level(Level.ALARM, ["cd"])
    await level(Level.CLEAR, [])
    assert alarms == []
    await look()
    assert alarms == ["alarm"]
    assert source.ids() == []
    await look()
    assert alarms == ["alarm"]


async def test_the_other_end_says_what_it_has_and_what_it_has_not_is_given_up(diamond: World) -> None:
    first, last = await diamond.sae("a"), await diamond.sae("d")
    await ready(first, "sae-d", 20, ways=2)
    ours = KmeSource(first, "sae-d", 0.1, reserve=3)
    watching = asyncio.create_task(ours.watch(lambda: None))

    async def held() -> bool:
        return len(await ours.top_up()) == 3

    await until(held)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    ids = await ours.top_up()
    theirs = KmeSource(last, "sae-a", 60.0, reserve=3)
    assert await theirs.hold(ids)
    ours.agree(theirs.ids())
    assert ours.ids() == theirs.ids() == ids
    # The other hub is started anew, and has none of them; one is new to it.
    theirs = KmeSource(last, "sae-a", 60.0, reserve=3)
    assert await theirs.hold(ids)
    ours.agree(theirs.ids())
    assert ours.ids() == theirs.ids() == []
    # While its KME is down it says nothing, and nothing is given up.
    ids = await ours.top_up()
    assert len(ids) == 3
    await last.close()
    nowhere = KmeSource(await diamond.sae("d", url="https://127.0.0.1:1"), "sae-a", 60.0, reserve=3)
    assert not await nowhere.hold(ids)
    assert not await KmeSource(first, "sae-d", 60.0).hold(ids)
    assert ours.ids() == ids
