"""Fixtures for tests of programs that use handfast: `clock`-driven or live, without a socket.

    async def test_two_hundred_devices_onboard_over_a_bad_link(hub, swarm):
        async with swarm(devices=200, link=LossyLink(loss=0.1, reorder=3), seed=7) as fleet:
            await fleet.onboard(within=60)
            assert fleet.count("active") == 200

`hub` is a real hub with a registry of its own in a temporary folder; only its broker is in memory
and its time is a FakeClock. `swarm` makes swarms against it. Async tests need pytest-asyncio.
"""

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from handfast.core.codes import encode_hub_code, encode_token
from handfast.testing import FakeClock, MemoryBroker, MemoryLink
from handfast_cpython.swarm import Swarm
from handfast_hub.config import HubConfig, load_config
from handfast_hub.hub import Hub
from handfast_hub.installation import create_hub
from handfast_hub.tokens import NewTokens

# How long a token of a test is good for, in seconds of the wall clock.
TOKEN_SECONDS = 3600.0


class MemoryHub(Hub):
    """A Hub whose broker is in memory; a swarm can be made against it."""

    def __init__(self, config: HubConfig, clock: FakeClock) -> None:
        self.broker = MemoryBroker(clock)
        self.fake_clock = clock
        super().__init__(config, transport=self.broker, clock=clock)

    @property
    def code(self) -> str:
        """The hub code."""
        return encode_hub_code(self.crypto, self.hub_id)

    def link(self) -> MemoryLink:
        """A link of one device towards this hub."""
        return MemoryLink(self.broker)

    async def tokens(self, count: int) -> list[str]:
        """`count` single tokens, as texts."""
        now = time.time()
        new = NewTokens("test", count, False, 1, now + TOKEN_SECONDS, now)
        return [encode_token(self.crypto, token) for token in await self.operator.mint(new)]


@pytest.fixture
def hub_config(tmp_path: Path) -> HubConfig:
    """The configuration of a new hub in a temporary folder; override it to change a policy."""
    file = tmp_path / "hub.toml"
    file.write_text('name = "test"\n[log]\nlevel = "warning"\n', encoding="utf-8")
    config = load_config(file)
    create_hub(config)
    return config


@pytest_asyncio.fixture
async def hub(hub_config: HubConfig) -> AsyncIterator[MemoryHub]:
    """A hub that is running."""
    async with MemoryHub(hub_config, FakeClock()) as running:
        yield running


@pytest.fixture
def swarm(hub: MemoryHub) -> Callable[..., Swarm]:
    """Makes a Swarm against `hub`, on its clock: swarm(devices=..., link=..., seed=...)."""
    return partial(Swarm, hub=hub, clock=hub.fake_clock)
