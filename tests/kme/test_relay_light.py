"""Relayed keys over links that really distil, and an eavesdropper on one of them; all of it processes."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from installation import clients, process, until
from relays import fill, kmes, network_of, ready

from handfast.core.errors import Error
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KeyNotFound, KeysUnavailable
from handfast_kme.dials import turn_attack
from handfast_kme.installed import Folder

# A link whose store is full rests, and sees no attack.
ROOM = 50_000


async def alarmed(kme: KmeClient, peer: str) -> bool:
    with contextlib.suppress(Error):
        return (await kme.status(peer)).extension["handfast_alarm"] in ("alarm", "abort")
    return False


async def test_an_attack_on_a_hop_voids_at_the_far_end_what_came_over_it(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ba", "bc"), ("ac",), room=ROOM)
    # a is Bob of its link and takes the newest cells: those that an alarm makes suspect.
    fill(network, 5000, ("bc",))
    folder = Folder(network.group.folder)
    with process(file, "--line", "ba"), kmes(network, file):
        async with clients(network, tmp_path, "sae-a", "sae-c") as (first, last):
            await ready(first, "sae-c", 8)
            [key] = await first.enc_keys("sae-c")
            assert await last.dec_keys("sae-a", [key.key_id]) == [key]
            suspect = await first.enc_keys("sae-c")
            turn_attack(folder.dials("ba"), "intercept", 1.0)
            with pytest.raises(KeysUnavailable) as raised:
                # The last one before the alarm is suspect, however long the alarm takes to come.
                while True:
                    suspect = await first.enc_keys("sae-c")
            assert raised.value.reason == "qber_alarm"
            assert await alarmed(first, "sae-c")

            async def gone() -> bool:
                with contextlib.closing(sqlite3.connect(folder.store("c"))) as db:
                    return suspect[0].key_id not in [row[0] for row in db.execute("SELECT key_id FROM keys")]

            # c has no part in that link: b told it.
            await until(gone)
            with pytest.raises(KeyNotFound):
                await last.dec_keys("sae-a", [suspect[0].key_id])


async def test_an_attack_on_the_link_of_two_kmes_sends_their_keys_over_a_relay(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ac", "ab", "bc"), ("ac",), room=ROOM)
    fill(network, 100, ("ab", "bc"))
    with process(file, "--line", "ac"), kmes(network, file):
        async with clients(network, tmp_path, "sae-a", "sae-c") as (first, last):

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
