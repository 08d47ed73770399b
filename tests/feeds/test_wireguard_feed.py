"""WireGuard takes the keys of a trunk: wireguard-go in two namespaces, two hubs, simulated QKD."""

import asyncio
import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fed_hubs import fed_hubs
from namespaces import Asking, missing, run, until
from wireguard_tunnel import End, wireguard_tunnel

from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import FeedKey
from handfast_hub.feeds.settings import WireguardFeed
from handfast_hub.feeds.wireguard import Wireguard

LACKS = missing("wg", "wireguard-go")
pytestmark = pytest.mark.skipif(LACKS != "", reason=LACKS)

KEY = FeedKey(7, bytes(8), bytes(range(32)))


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[End, End]]:
    with wireguard_tunnel(tmp_path) as both:
        yield both


def consumer(end: End, other: End) -> Wireguard:
    settings = WireguardFeed(trunk="x", kind="wireguard", interface=end.interface, peer=other.public)
    return Wireguard(settings, lambda length: bytes([len(end.interface)]) * length)


async def test_traffic_goes_on_while_preshared_keys_follow_the_epochs_and_stops_with_them(
    ends: tuple[End, End], tmp_path: Path
) -> None:
    by_name = dict(zip(("berlin", "vienna"), zip(ends, reversed(ends))))

    def feed(name: str) -> str:
        end, other = by_name[name]
        return (
            f'kind = "wireguard"\ninterface = "{end.interface}"\npeer = "{other.public}"\n'
            'without_qkd = "close"\n'
        )

    first, second = ends
    async with fed_hubs(tmp_path, feed) as fed:
        await fed.reach("fed")
        await fed.rotate(1)
        await asyncio.to_thread(until, lambda: first.place.answers(second.inside))
        keys = set()
        with Asking(first.place, second.place, second.inside) as asking:
            for _ in range(3):
                await fed.rotate(1)
                keys.add(first.preshared)
            sent, answered = await asyncio.to_thread(asking.stop)
        assert sent > 20
        assert answered == sent
        assert len(keys) >= 2
        # A new handshake works under a key of now, which has never been used in one.
        first.forget(second)
        await asyncio.to_thread(until, lambda: first.place.answers(second.inside))
        assert first.handshake > 0
        # No QKD key any more, and the one in use is suspect: closed at once, at both ends, sessions too.
        fed.lose_kmes()
        fed.alarm("berlin")
        await fed.reach("closed")
        assert first.handshake == second.handshake == 0
        assert len({first.preshared, second.preshared, "(none)", *keys}) == len(keys) + 3
        assert not await asyncio.to_thread(first.place.answers, second.inside)


async def test_unequal_keys_make_no_handshake_and_equal_ones_do(ends: tuple[End, End]) -> None:
    first, second = ends
    await consumer(first, second).put(KEY)
    await consumer(second, first).put(FeedKey(7, bytes(8), bytes(range(1, 33))))
    with Asking(first.place, second.place, second.inside):
        # Two initiations of 148 bytes have come, 5 seconds apart, and were answered in vain.
        await asyncio.to_thread(until, lambda: second.received >= 2 * 148)
        assert first.handshake == 0
        await consumer(second, first).put(KEY)
        await asyncio.to_thread(until, lambda: first.handshake > 0)
    assert first.preshared == second.preshared
    assert first.place.answers(second.inside)


async def test_no_key_stands_on_a_command_line(
    ends: tuple[End, End], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ends
    listed, real = tmp_path / "listed", shutil.which("wg")
    (tmp_path / "bin").mkdir()
    listing = tmp_path / "bin" / "wg"
    listing.write_text(f'#!/bin/sh\necho "$@" >> {listed}\nexec {real} "$@"\n')
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{listing.parent}:{os.environ['PATH']}")
    feed = consumer(first, second)
    await feed.prepare()
    keys = [first.preshared]
    await feed.put(KEY)
    keys.append(first.preshared)
    await feed.shut()
    keys.append(first.preshared)
    assert len(set(keys)) == 2
    assert keys[1] == base64.b64encode(KEY.key).decode()
    lines = listed.read_text()
    assert lines.count("set") >= 3
    assert not any(key in lines for key in keys)


async def test_a_peer_without_a_key_gets_one_that_nobody_knows(ends: tuple[End, End]) -> None:
    first, second = ends
    assert first.preshared == "(none)"
    await consumer(first, second).prepare()
    made = first.preshared
    assert made != "(none)"
    # One that is there, of the run before, stays.
    await consumer(first, second).prepare()
    assert first.preshared == made


async def test_closing_keeps_what_the_peer_was_configured_with(ends: tuple[End, End]) -> None:
    first, second = ends
    run("wg", "set", first.interface, "peer", second.public, "persistent-keepalive", "25",
        "allowed-ips", f"{second.inside}/32,203.0.113.0/24")  # fmt: skip
    before = [first.about_peer(what) for what in ("endpoints", "allowed-ips", "persistent-keepalive")]
    await consumer(first, second).shut()
    assert [first.about_peer(what) for what in ("endpoints", "allowed-ips", "persistent-keepalive")] == before
    # A peer that may send nothing, from nowhere, is closed as well.
    run("wg", "set", first.interface, "peer", second.public, "remove")
    run("wg", "set", first.interface, "peer", second.public)
    await consumer(first, second).shut()
    assert first.about_peer("allowed-ips") == ["(none)"]


async def test_what_is_wrong_is_said_in_one_sentence(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ends
    with pytest.raises(
        FeedError, match=f"{first.interface} has no peer {re.escape(first.public)}; configure"
    ):
        await consumer(first, first).put(KEY)
    first.interface = "hfnothere"
    with pytest.raises(FeedError, match="hfnothere: there is no such WireGuard interface here"):
        await consumer(first, second).put(KEY)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FeedError, match="no program 'wg' here; install wireguard-tools"):
        await consumer(first, second).put(KEY)
