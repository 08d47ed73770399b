"""Relayed keys over links that really distil, and an eavesdropper on one of them; all of it processes."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from installation import client, process, until
from relays import fill, kmes, network_of, ready

from handfast.core.errors import Error
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable
from handfast_kme.dials import turn_attack
from handfast_kme.installed import Folder


async def alarmed(kme: KmeClient, peer: str) -> bool:
    with contextlib.suppress(Error):
        return (await kme.status(peer)).extension["handfast_alarm"] in ("alarm", "abort")
    return False


async def test_an_attack_on_a_hop_voids_at_the_far_end_what_came_over_it(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ab", "bc"), ("ac",))
    fill(network, 100, ("bc",))
    folder = Folder(network.group.folder)
    with process(file, "--line", "ab"), kmes(network, file):
        async with (
            client(network, "sae-a", tmp_path / "a") as first,
            client(network, "sae-c", tmp_path / "c") as last,
        ):
            await ready(first, "sae-c", 8)
            [key] = await first.enc_keys("sae-c")
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            [suspect] = await first.enc_keys("sae-c")
            turn_attack(folder.dials("ab"), "intercept", 1.0)
            await until(lambda: alarmed(first, "sae-c"))
            with pytest.raises(KeysUnavailable) as raised:
                await first.enc_keys("sae-c")
            assert raised.value.reason == "qber_alarm"

            async def gone() -> bool:
                with contextlib.closing(sqlite3.connect(folder.store("c"))) as db:
                    return db.execute("SELECT count(*) FROM keys").fetchone() == (0,)

            # c has no part in that link: b told it.
            await until(gone)
            with pytest.raises(KeyNotFound):
                await last.dec_keys("sae-a", [suspect.key_id])


async def test_an_attack_on_the_link_of_two_kmes_sends_their_keys_over_a_relay(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ac", "ab", "bc"), ("ac",))
    fill(network, 100, ("ab", "bc"))
    with process(file, "--line", "ac"), kmes(network, file):
        async with (
            client(network, "sae-a", tmp_path / "a") as first,
            client(network, "sae-c", tmp_path / "c") as last,
        ):

            async def relays_are(*names: str) -> bool:
                with contextlib.suppress(Error):
                    status = await first.status("sae-c")
                    return status.extension["handfast_relays"] == [*names] and status.stored_key_count > 0
                return False

            await until(relays_are)
            [key] = await first.enc_keys("sae-c")
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            turn_attack(Folder(network.group.folder).dials("ac"), "blinding", 1.0)
            # The relay is said before the first key goes over it.
            await until(lambda: relays_are("b"))
            [key] = await first.enc_keys("sae-c")
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
