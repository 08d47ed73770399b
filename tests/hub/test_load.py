"""Under a flood of strangers who know the hub code, holders of a token are served first."""

import os
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest

from handfast.core import topics
from handfast.core.cbor import encode_sequence
from handfast.core.credentials import Identity, make_ccs
from handfast.core.initiator import Initiator
from handfast_cpython.swarm import Swarm
from handfast_hub.config import HubConfig, load_config
from handfast_hub.installation import create_hub
from handfast_hub.limits import EarlyDrop, TokenBucket
from handfast_hub.memory_hub import MemoryHub

HALF_OPEN = 16


@pytest.fixture
def hub_config(tmp_path: Path) -> HubConfig:
    file = tmp_path / "hub.toml"
    limits = f"half_open = {HALF_OPEN}\nsignatures_per_second = 4\nverifications_per_second = 4"
    file.write_text(f'name = "test"\n[limits]\n{limits}\n[log]\nlevel = "error"\n', encoding="utf-8")
    config = load_config(file)
    create_hub(config)
    return config


class Flood:
    """Strangers with valid GATEs of kind 0, who always come just before a device does."""

    def __init__(self, hub: MemoryHub, size: int) -> None:
        self._hub = hub
        seed = os.urandom(32)
        credential = make_ccs(hub.crypto, "stranger", -49, hub.crypto.signature_public_key(-49, seed))
        self._messages = []
        for number in range(size):
            machine = Initiator(hub.crypto, os.urandom, Identity(seed, credential), hub.hub_id)
            machine.start(0.0)
            endpoint = topics.onboarding(hub.hub_id[:8], number.to_bytes(topics.CHAN_LENGTH, "big"))
            self._messages.append((topics.reply_topic(endpoint.up), machine.frames_to_send(0.0)[0]))
        self._next = cycle(self._messages)
        self.sent = 0
        self._carry = hub.broker.carry
        hub.broker.carry = self._before  # type: ignore[method-assign]

    def _before(self, topic: str, payload: bytes) -> None:
        if topics.parse(topic).chan is not None:
            self._wave()
        self._carry(topic, payload)

    def _wave(self) -> None:
        sessions = self._hub._sessions
        for reply, message_1 in islice(self._next, 40):
            sessions.receive(reply, message_1, lambda: None)
            self.sent += 1
        mine = {reply for reply, _ in self._messages}
        for c_r, session in list(sessions._open.items()):
            if session.reply in mine:
                # They have read their message_2, so they know C_R; what they send costs a verification.
                sessions.receive(session.reply, encode_sequence(c_r, bytes(5000)), lambda: None)


async def test_devices_with_a_token_onboard_through_a_flood_of_valid_gates(
    hub: MemoryHub, swarm: Callable[..., Swarm]
) -> None:
    flood = Flood(hub, 200)
    async with swarm(devices=4, seed=5) as fleet:
        await fleet.onboard(within=120)
        assert fleet.count("active") == 4
    assert flood.sent >= 4 * 2 * 40


def test_the_last_quarter_of_the_places_is_for_holders_of_a_token() -> None:
    early = EarlyDrop(HALF_OPEN, lambda: 0.999999)
    assert [early.admits(number, False) for number in range(HALF_OPEN + 1)] == [True] * 12 + [False] * 5
    assert [early.admits(number, True) for number in range(HALF_OPEN + 1)] == [True] * 16 + [False]
    early = EarlyDrop(HALF_OPEN, lambda: 0.0)
    assert [early.admits(number, False) for number in range(HALF_OPEN)] == [True] * 9 + [False] * 7


def test_half_of_a_bucket_is_for_holders_of_a_token() -> None:
    bucket = TokenBucket(10.0, 0.0)
    assert sum(bucket.take(0.0, False) for _ in range(40)) == 10
    assert sum(bucket.take(0.0, True) for _ in range(40)) == 10
    assert not bucket.take(0.9, False)  # the refill fills the reserve first
    assert bucket.take(0.9, True)


def test_a_small_bucket_serves_everybody_when_it_is_full() -> None:
    assert TokenBucket(0.5, 0.0).take(0.0, False)
