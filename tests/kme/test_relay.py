"""Relays in this process, where what they see can be looked at: pads, shares, tags, keys that are void."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from installation import until
from relays import DIAMOND, TWO, asked, ready, world

from handfast.core.errors import KeystoreError
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable, KmeRefused
from handfast_kme import relay
from handfast_kme.alarms import Level
from handfast_kme.one_time_pad import combined, seal, unseal
from handfast_kme.store import Store

pytestmark = pytest.mark.usefixtures("fast_news")


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
