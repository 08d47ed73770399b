"""Onboarding through a broker that carries small packets only."""

from collections.abc import Callable

import pytest

from handfast import Settings
from handfast.testing import MemoryBroker, MemoryLink
from handfast_cpython.swarm import Swarm
from handfast_hub.config import HubConfig
from handfast_hub.memory_hub import MemoryHub

LIMIT = 1024


@pytest.fixture
def hub_config(hub_config: HubConfig) -> HubConfig:
    """The configuration of the plugin, with a limit on packets."""
    mqtt = hub_config.mqtt.model_copy(update={"packet_limit": LIMIT})
    return hub_config.model_copy(update={"mqtt": mqtt})


async def test_devices_onboard_in_fragments_and_no_packet_is_too_large(
    swarm: Callable[..., Swarm], hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    up: list[int] = []
    down: list[int] = []
    carry, offer = MemoryBroker.carry, MemoryLink.offer

    def watched_carry(broker: MemoryBroker, topic: str, payload: bytes) -> None:
        up.append(len(payload))
        carry(broker, topic, payload)

    def watched_offer(link: MemoryLink, topic: str, payload: bytes) -> None:
        down.append(len(payload))
        offer(link, topic, payload)

    monkeypatch.setattr(MemoryBroker, "carry", watched_carry)
    monkeypatch.setattr(MemoryLink, "offer", watched_offer)
    async with swarm(devices=5, settings=Settings(packet_limit=LIMIT)) as fleet:
        await fleet.onboard(within=120)
        assert fleet.count("active") == 5
    for sizes in (up, down):
        assert LIMIT // 2 < max(sizes) <= LIMIT
