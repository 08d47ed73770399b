"""Which way relayed keys go: round a hop without keys, past nodes that do not relay, as the file says."""

from pathlib import Path

import pytest
from installation import until
from relays import DIAMOND, TWO, asked, ready, world

from handfast_hub.trunk.kme_answers import KeysUnavailable, KmeRefused
from handfast_kme import relay
from handfast_kme.alarms import Level
from handfast_kme.messages import Unavailable

pytestmark = pytest.mark.usefixtures("fast_news")


async def test_a_hop_that_has_no_keys_is_gone_round_and_else_is_503(tmp_path: Path) -> None:
    async with world(tmp_path, DIAMOND) as here:
        first, last = await here.sae("a"), await here.sae("d")
        await ready(first, "sae-d", 20, ways=2)
        # The relay's reports are a second old: the first way is tried, and refused by the relay.
        for node in "bd":
            here.kmes[node].store.void("bd", 0)
        [key] = await first.enc_keys("sae-d")
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]
        for node in "cd":
            here.kmes[node].store.void("cd", 0)
        with pytest.raises(KeysUnavailable) as raised:
            await first.enc_keys("sae-d")
        assert raised.value.reason == "key_exhausted"
        with pytest.raises(KeysUnavailable) as raised:
            await first.enc_keys("sae-d", extension_mandatory=TWO)
        assert raised.value.reason == "key_exhausted"


async def test_a_node_that_is_not_to_relay_passes_nothing(tmp_path: Path) -> None:
    async with world(
        tmp_path, DIAMOND, edit=lambda text: text.replace('"b"\nuid', '"b"\nrelay = false\nuid')
    ) as here:
        first = await here.sae("a")
        await ready(first, "sae-d", 20)
        assert (await first.status("sae-d")).extension["handfast_relays"] == ["c"]
        with pytest.raises(KmeRefused, match="options could be met"):
            await first.enc_keys("sae-d", extension_mandatory=TWO)
        # Not even when a neighbour asks it to.
        parcel = relay.Parcel(("key",), 32, "sae-a", ("sae-d",), 1, 1, ("ab", "bd"))
        with pytest.raises(Unavailable, match="passes nothing on"):
            await here.kmes["a"]._relay.send(parcel, bytes(32))


async def test_a_link_without_a_relay_comes_first_and_a_reserve_is_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc", "ac"), ("ac",), of_link="reserve = 20") as here:
        first, last = await here.sae("a"), await here.sae("c")
        await ready(first, "sae-c", 60)
        assert (await first.status("sae-c")).extension["handfast_relays"] == []
        keys = await first.enc_keys("sae-c", 50)
        # The others' links are known of a second later.
        keys += await until(lambda: asked(first, "sae-c", number=20))  # type: ignore[arg-type]
        assert here.cells("ac") == [10, 10]
        assert here.cells("ab") == here.cells("bc") == [39, 39]
        assert (await first.status("sae-c")).stored_key_count == 10
        with pytest.raises(KeysUnavailable) as raised:
            await first.enc_keys("sae-c", 20)
        assert raised.value.reason == "key_exhausted"
        assert await last.dec_keys("sae-a", [key.key_id for key in keys]) == keys


@pytest.mark.parametrize(
    ("given", "nodes"),
    [
        (("a", "c", "d"), ["a", "c", "d"]),
        (("a", "b", "d"), ["a", "b", "d"]),
    ],
)
async def test_keys_take_the_way_that_the_file_gives_and_no_other(
    tmp_path: Path, given: tuple[str, ...], nodes: list[str]
) -> None:
    path = f'[[path]]\nconsumers = ["sae-a", "sae-d"]\nnodes = {list(given)}\n'
    async with world(tmp_path, DIAMOND, more=path) as here:
        first = await here.sae("a")
        await ready(first, "sae-d", 20)
        assert (await first.status("sae-d")).extension["handfast_path"] == nodes
        with pytest.raises(KmeRefused, match="options could be met"):
            await first.enc_keys("sae-d", extension_mandatory=TWO)
        here.kmes[given[1]].links[f"{given[1]}d"].watch.level = Level.ALARM
        with pytest.raises(KeysUnavailable) as raised:
            await first.enc_keys("sae-d")
        assert raised.value.reason == "qber_alarm"


@pytest.mark.parametrize(
    "value", [0, True, "2", 2.0, None, [2]], ids=lambda value: f"{type(value).__name__} {value}"
)
async def test_a_number_of_ways_that_is_none_is_400(tmp_path: Path, value: object) -> None:
    async with world(tmp_path, ("ab",), ("ab",)) as here:
        with pytest.raises(KmeRefused, match="1 or 2"):
            await (await here.sae("a")).enc_keys(
                "sae-b", extension_mandatory=[{"handfast_disjoint_paths": value}]
            )
