"""Relays in this process, where what they see can be looked at: pads, shares, tags, keys that are void."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from installation import until
from relays import DIAMOND, TWO, asked, ready, world

from handfast.core.errors import KeystoreError
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable, KmeRefused
from handfast_kme import link_states, relay
from handfast_kme.alarms import Level
from handfast_kme.messages import Unavailable
from handfast_kme.one_time_pad import combined, seal, unseal
from handfast_kme.store import Store


@pytest.fixture(autouse=True)
def fast_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_states, "SPREAD", 0.1)
    monkeypatch.setattr(relay, "NOTICES", 0.1)


class Sealed:
    """Every pad under which anything was sent, and what was in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pads: list[bytes] = []
        self.opened: list[tuple[relay.Parcel, bytes]] = []

        def sealing(pad: bytes, head: bytes, secret: bytes) -> tuple[bytes, bytes]:
            self.pads += [pad[at : at + 32] for at in range(0, len(pad), 32)]
            return seal(pad, head, secret)

        def opening(pad: bytes, head: bytes, sealed: bytes, tag: bytes) -> bytes:
            secret = unseal(pad, head, sealed, tag)
            ticket = head[head.index(b"\x50") + 1 :][:16]
            self.opened.append((relay.read_head(head, ticket), secret))
            return secret

        monkeypatch.setattr(relay, "seal", sealing)
        monkeypatch.setattr(relay, "unseal", opening)


async def test_over_one_way_a_relay_sees_the_key_and_over_two_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Sealed(monkeypatch)
    async with world(tmp_path, DIAMOND) as here:
        first, last = await here.sae("a"), await here.sae("d")
        await ready(first, "sae-d", 20, ways=2)
        [key] = await first.enc_keys("sae-d")
        # At the relay, and at the last KME.
        assert [secret for _, secret in seen.opened] == [key.value, key.value]
        seen.opened.clear()
        [key] = await first.enc_keys("sae-d", extension_mandatory=TWO)
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]
        shares = {parcel.share: secret for parcel, secret in seen.opened}
        links = {share: {p.links for p, _ in seen.opened if p.share == share} for share in (1, 2)}
        # Each share was opened at one relay and at the last KME, and the two relays are not the same.
        assert links in (
            {1: {("ab", "bd"), ("bd",)}, 2: {("ac", "cd"), ("cd",)}},
            {2: {("ab", "bd"), ("bd",)}, 1: {("ac", "cd"), ("cd",)}},
        )
        assert combined(list(shares.values())) == key.value
        # Whatever the key was, the relay would have seen the same: for every key there is one other share.
        for share in shares.values():
            assert share != key.value
            wrong = os.urandom(32)
            assert combined([share, combined([share, wrong])]) == wrong


async def test_no_pad_is_ever_used_twice_also_when_both_ends_want_the_last_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Sealed(monkeypatch)
    async with world(tmp_path, ("ab", "bc"), ("ac", "ab", "bc"), keys=90) as here:
        saes = {node: await here.sae(node) for node in "abc"}
        await ready(saes["a"], "sae-c", 5)
        await ready(saes["c"], "sae-a", 5)
        asking = [("a", "c"), ("c", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")] * 8
        answers = await asyncio.gather(*(asked(saes[one], f"sae-{other}") for one, other in asking))
        keys = [
            (other, one, key)
            for (one, other), answer in zip(asking, answers, strict=True)
            for key in answer or []
        ]
        assert len(seen.pads) == len(set(seen.pads)) > 0
        # A key of one link is the very cell: none of them was a pad as well.
        assert not {key.value for _, _, key in keys} & set(seen.pads)
        assert len({key.value for _, _, key in keys}) == len(keys) > 20
        for other, one, key in keys:
            assert await saes[other].dec_keys(f"sae-{one}", [key.key_id]) == [key]


async def test_an_alarm_on_any_hop_voids_the_key_at_its_end_and_gives_no_other(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc", "cd"), ("ad",)) as here:
        first, last = await here.sae("a"), await here.sae("d")
        await ready(first, "sae-d", 10)
        for link in ("ab", "bc", "cd"):
            keys = await first.enc_keys("sae-d", 2)
            # Both ends of a link see an alarm; its newest blocks are suspect.
            for kme in here.kmes.values():
                if link in kme.links:
                    assert kme.store.void(link, 0) > 0
                    kme.links[link].watch.level = Level.ALARM

            async def gone() -> bool:
                return not here.kmes["d"].store.waiting()

            await until(gone)
            with pytest.raises(KeyNotFound):
                await last.dec_keys("sae-a", [keys[0].key_id])

            async def alarmed() -> bool:
                with contextlib.suppress(KeysUnavailable):
                    return (await first.status("sae-d")).extension["handfast_alarm"] == "alarm"
                return False

            await until(alarmed)
            with pytest.raises(KeysUnavailable) as raised:
                await first.enc_keys("sae-d")
            assert raised.value.reason == "qber_alarm"
            block = here.kmes["d"].store.next_block("ab", 100)
            cells = os.urandom(32 * 60)
            for kme in here.kmes.values():
                if link in kme.links:
                    kme.links[link].watch.level = Level.CLEAR
                    kme.store.add_block(link, block, cells, {})
            await ready(first, "sae-d", 5)


async def test_a_key_that_fails_at_the_last_moment_is_void_at_the_far_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, DIAMOND) as here:
        first, last = await here.sae("a"), await here.sae("d")
        await ready(first, "sae-d", 20, ways=2)
        key_ids: list[str] = []

        def fails(ids: list[str], local: object) -> None:
            key_ids.extend(ids)
            assert set(ids) <= set(here.kmes["d"].store.waiting())
            raise KeystoreError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(here.kmes["a"].store, "hand_out", fails)
            with pytest.raises(KeysUnavailable):
                await first.enc_keys("sae-d", extension_mandatory=TWO)

        async def gone() -> bool:
            return not here.kmes["d"].store.waiting()

        await until(gone)
        with pytest.raises(KeyNotFound):
            await last.dec_keys("sae-a", key_ids)

        async def nothing_to_tell() -> bool:
            return not any(kme.store.untold(link) for kme in here.kmes.values() for link in kme.links)

        await until(nothing_to_tell)
        [key] = await first.enc_keys("sae-d", extension_mandatory=TWO)
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]


def test_what_was_on_its_way_when_its_kme_died_is_told_to_be_void(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    store.add_block("ab", 1, os.urandom(32 * 10), {})
    for key_id in ("given", "lost"):
        store.begin({key_id: os.urandom(32)}, "sae-a", 1e12)
        assert store.take_pad("ab", 2, False, [key_id], 1e12) is not None
    assert list(store.hand_out(["given"])) == ["given"]
    store.close()
    store = Store(tmp_path / "store.sqlite")
    assert store.untold("ab") == ["lost"]
    with pytest.raises(KeystoreError):
        store.hand_out(["lost"])


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


async def test_additional_slaves_at_either_end_get_a_relayed_key_once_each(tmp_path: Path) -> None:
    more = "".join(f'[[consumer]]\nname = "sae-{node}2"\nnode = "{node}"\n' for node in "abc")
    async with world(tmp_path, ("ab", "bc"), ("ac",), more=more) as here:
        first = await here.sae("a")
        others = [await here.sae(name) for name in ("c", "c2", "a2")]
        await ready(first, "sae-c", 10)
        [key] = await first.enc_keys("sae-c", additional_slave_sae_ids=["sae-c2", "sae-a2"])
        for other in others:
            assert await other.dec_keys("sae-a", [key.key_id]) == [key]
        for other in others:
            with pytest.raises(KeyNotFound):
                await other.dec_keys("sae-a", [key.key_id])
        # One that the relay serves is not reached: the key would have to stay there.
        with pytest.raises(KmeRefused, match="do not reach"):
            await first.enc_keys("sae-c", additional_slave_sae_ids=["sae-b2"])


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


async def test_what_a_neighbour_says_wrongly_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc"), ("ac",)) as here:
        first, last = await here.sae("a"), await here.sae("c")
        await ready(first, "sae-c", 10)
        control = here.kmes["a"].links["ab"].control
        assert control is not None
        [key] = await first.enc_keys("sae-c")
        before = here.cells("bc")
        head = relay.Parcel(("x",), 32, "sae-a", ("sae-c",), 1, 1, ("ab", "bc")).head(b"t" * 16)
        for name, values in (
            ("relay", (b"t" * 16, head, bytes(32), bytes(16))),
            ("relay", (b"t", b"", b"", b"")),
            ("relay", ()),
            ("pad", (b"t" * 16, [[1]], [], "a", "b")),
            ("pad", (b"t" * 16, "cells", [], "a", "b")),
            ("pad", (b"t" * 16, [[2**63, 1]], ["x"], "a", "b")),
            ("pad", (b"t" * 16, [[1, -1]], ["x"], "a", "b")),
            ("pad", (1, [], [], "a", "b")),
            ("void", ([1],)),
            ("links", ([["bc", "c", 0, 1, 9, 1, 0, 0]],)),
            ("links", ([["ab"]],)),
            ("assign", ([],)),
            ("assign", ([[]],)),
            ("nonsense", ()),
        ):
            with pytest.raises(Exception, match="refused") as raised:
                await control.call(name, *values)
            assert not isinstance(raised.value, Unavailable)
        # A key that did not come over this link cannot be voided over it.
        assert await here.kmes["b"].links["bc"].control.call("void", ["nobody"]) is True  # type: ignore[union-attr]
        assert here.cells("bc") == before
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]


@pytest.mark.parametrize(
    "message", [("answer", [1], 2), ("call", 1, [], []), ("call", [1], "links", []), ("nonsense",)]
)
async def test_a_neighbour_that_breaks_the_rules_of_the_channel_loses_the_connection_and_nothing_else(
    tmp_path: Path, message: tuple[Any, ...]
) -> None:
    async with world(tmp_path, ("ab",), ("ab",)) as here:
        first, last = await here.sae("a"), await here.sae("b")
        await ready(first, "sae-b", 10)
        end = here.kmes["b"].links["ab"]
        before, control = end.control, here.kmes["a"].links["ab"].control
        assert before is not None and control is not None
        await control._channel.send(*message)

        async def connected_anew() -> bool:
            return end.control not in (None, before)

        await until(connected_anew)
        await ready(first, "sae-b", 10)
        [key] = await first.enc_keys("sae-b")
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]


async def test_a_pad_that_nothing_came_for_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, ("ab",), ("ab",)) as here:
        first = await here.sae("a")
        await ready(first, "sae-b", 10)
        control, store = here.kmes["a"].links["ab"].control, here.kmes["a"].store
        assert control is not None
        for hold in (60.0, 0.0):
            monkeypatch.setattr(relay, "_HOLD", hold)
            taken = store.take_pad("ab", 1, False, [str(hold)], 1e12)
            assert taken is not None
            cells = [list(cell) for cell in taken[0]]
            assert await control.call("pad", bytes(16), cells, [str(hold)], "sae-a", "sae-b") == []
            assert len(here.kmes["b"]._relay._pads) == 1
            await here.kmes["b"]._relay._expire()
            assert len(here.kmes["b"]._relay._pads) == (1 if hold else 0)
