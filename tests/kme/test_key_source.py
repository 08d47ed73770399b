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


async def test_a_key_comes_over_two_ways_and_over_one_only_when_that_will_do(diamond: World) -> None:
    first, last = await diamond.sae("a"), await diamond.sae("d")
    await ready(first, "sae-d", 20, ways=2)
    ours = KmeSource(first, "sae-d", 60.0)
    theirs = KmeSource(last, "sae-a", 60.0)
    key_id, key, ways = await ours.enc_key(ways=2)
    assert (await theirs.dec_key(key_id), ways) == (key, 2)
    assert all(count == 58 for link in DIAMOND for count in diamond.cells(link))
    for kme in "cd":
        diamond.kmes[kme].store.void("cd", 0)
    with pytest.raises(KeysUnavailable) as raised:
        await ours.enc_key(ways=2, least=2)
    assert raised.value.reason == "key_exhausted"
    # Who is content with one gets it, and it says so.
    key_id, key, ways = await ours.enc_key(ways=2)
    assert (await theirs.dec_key(key_id), ways) == (key, 1)


async def test_keys_held_ahead_over_two_ways_come_before_a_new_one_over_one(diamond: World) -> None:
    first, last = await diamond.sae("a"), await diamond.sae("d")
    await ready(first, "sae-d", 20, ways=2)
    ours, theirs = KmeSource(first, "sae-d", 60.0, reserve=2), KmeSource(last, "sae-a", 60.0, reserve=2)
    ours._supply.saw(100, 0.0)
    assert await theirs.hold(await ours.top_up(2))
    for kme in "cd":
        diamond.kmes[kme].store.void("cd", 0)
    found = []
    for _ in range(3):
        key_id, key, ways = await ours.enc_key(ways=2)
        assert await theirs.dec_key(key_id) == key
        found.append(ways)
    assert found == [2, 2, 1]


async def test_a_kme_without_two_ways_refuses_in_the_words_of_the_standard(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc"), ("ac",)) as here:
        sae = await here.sae("a")
        await ready(sae, "sae-c", 1)
        source = KmeSource(sae, "sae-c", 60.0)
        with pytest.raises(KmeRefused, match="not all extension_mandatory request options could be met"):
            await source.enc_key(ways=2, least=2)
        assert (await source.enc_key(ways=2))[2] == 1


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
        key_id, key, _ = await ours.enc_key()
        assert await theirs.dec_key(key_id) == key
        # Both ends of the link count it, and a look may fall between the two.
        assert len(alarms) in (1, 2)
        # Who wants two ways gets nothing now, and hears why.
        with pytest.raises(KeysUnavailable) as raised:
            await ours.enc_key(ways=2, least=2)
        assert raised.value.reason == "qber_alarm"
        # Whoever has not heard of the alarm hears of it before a key over the clean way is taken.
        other = KmeSource(first, "sae-d", 60.0)
        with pytest.raises(KeysUnavailable) as raised:
            await other.enc_key(ways=2)
        assert raised.value.reason == "qber_alarm"
        assert [(await source.enc_key(ways=2))[2] for source in (ours, other)] == [1, 1]
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
