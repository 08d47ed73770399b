"""Fixtures for tests of programs that use handfast: whole fleets without a socket.

    async def test_two_hundred_devices_onboard_over_a_bad_link(hub, swarm):
        async with swarm(devices=200, link=LossyLink(loss=0.1, reorder=3), seed=7) as fleet:
            await fleet.onboard(within=600)
            assert fleet.count("active") == 200

`hub` is a real hub with a registry of its own in a temporary folder; only its broker is in memory
and its time is a FakeClock. `swarm` makes swarms against it. Both need pytest-asyncio.

pytest loads this file wherever handfast is installed, so nothing else is imported before a test
asks for a fixture.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:
    # pytest itself then says that it cannot run an async fixture, to those who ask for one.
    async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from handfast_cpython.swarm import Swarm
    from handfast_hub.config import HubConfig
    from handfast_hub.memory_hub import MemoryHub


@pytest.fixture
def hub_config(tmp_path: Path) -> "HubConfig":
    """The configuration of a new hub in a temporary folder; override it to change a policy."""
    from handfast_hub.config import load_config
    from handfast_hub.installation import create_hub

    file = tmp_path / "hub.toml"
    file.write_text('name = "test"\n[log]\nlevel = "warning"\n', encoding="utf-8")
    config = load_config(file)
    create_hub(config)
    return config


@async_fixture
async def hub(hub_config: "HubConfig") -> "AsyncIterator[MemoryHub]":
    """A hub that is running."""
    from handfast.testing import FakeClock
    from handfast_hub.memory_hub import MemoryHub

    async with MemoryHub(hub_config, FakeClock()) as running:
        yield running


@pytest.fixture
def swarm(hub: "MemoryHub") -> "Callable[..., Swarm]":
    """Makes a Swarm against `hub`, on its clock: swarm(devices=..., link=..., seed=...)."""
    from handfast_cpython.swarm import Swarm

    return partial(Swarm, hub=hub, clock=hub.fake_clock)
