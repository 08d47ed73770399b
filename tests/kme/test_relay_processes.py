"""KMEs as processes, and keys between two that no fibre joins. The stores were filled by hand."""

from pathlib import Path

import pytest
from installation import clients, until
from relays import DIAMOND, TWO, asked, fill, held, kmes, network_of, ready

from handfast_hub.trunk.kme_answers import KeysUnavailable, KmeRefused


def on_disk(folder: Path, node: str) -> bytes:
    files = sorted((folder / "installation/nodes" / node).glob("store.sqlite*"))
    return b"".join(file.read_bytes() for file in files)


async def test_a_key_goes_over_two_hops_and_costs_both_of_them(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ab", "bc"), ("ac",))
    fill(network, 100)
    with kmes(network, file):
        async with clients(network, tmp_path, "sae-a", "sae-c") as (first, last):
            await ready(first, "sae-c", 50)
            status = await first.status("sae-c")
            assert (status.source_kme_id, status.target_kme_id) == ("kme-a", "kme-c")
            # Each key alone costs two cells on every hop: its own and one for the tag.
            assert status.stored_key_count == 50
            assert status.extension["handfast_path"] == ["a", "b", "c"]
            assert status.extension["handfast_relays"] == ["b"]
            [key] = await first.enc_keys("sae-c")
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            for node, link in (("a", "ab"), ("b", "ab"), ("b", "bc"), ("c", "bc")):
                assert held(network, node, link) == 98
            # Several at once share one tag; and the other way round.
            keys = await last.enc_keys("sae-a", 4, 1024)
            assert await first.dec_keys("sae-c", [key.key_id for key in keys]) == keys
            for node, link in (("a", "ab"), ("b", "ab"), ("b", "bc"), ("c", "bc")):
                assert held(network, node, link) == 98 - 17
            # A relay keeps nothing of it.
            relay = on_disk(tmp_path, "b")
            assert not any(found.value in relay for found in (key, *keys))
            with pytest.raises(KmeRefused, match="extension_mandatory request options could be met"):
                await first.enc_keys("sae-c", extension_mandatory=TWO)
            with pytest.raises(KeysUnavailable) as raised:
                await first.enc_keys("sae-c", 100)
            assert raised.value.reason == "key_exhausted"
            assert held(network, "a", "ab") == 98 - 17


async def test_two_ways_without_a_common_relay_and_none_when_one_is_down(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, DIAMOND)
    fill(network, 100)
    with kmes(network, file) as nodes:
        async with clients(network, tmp_path, "sae-a", "sae-d") as (first, last):
            await ready(first, "sae-d", 50, ways=2)
            keys = await until(lambda: asked(first, "sae-d", number=3, extension_mandatory=TWO))
            assert isinstance(keys, list)
            assert await last.dec_keys("sae-a", [key.key_id for key in keys]) == keys
            assert all(held(network, link[0], link) == 96 for link in DIAMOND)
            nodes["b"].kill()
            nodes["b"].wait()
            with pytest.raises(KeysUnavailable) as raised:
                await first.enc_keys("sae-d", extension_mandatory=TWO)
            assert raised.value.reason == "link_down"
            # One way is still there, for who is content with it.
            [key] = await until(lambda: asked(first, "sae-d"))  # type: ignore[misc]
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
