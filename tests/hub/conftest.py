"""Fixtures of more than one file here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import registry_world as world
from operator_shell import Shell
from simulated_devices import Overheard

from handfast_hub.config import HubConfig
from handfast_hub.memory_hub import MemoryHub
from handfast_hub.mqtt import ingress
from handfast_hub.registry.registry import Registry


@pytest.fixture
def config(tmp_path: Path) -> HubConfig:
    """The configuration of a hub that was just made."""
    return world.new_hub(tmp_path)


@pytest.fixture
async def registry(config: HubConfig) -> AsyncIterator[Registry]:
    """Its registry, open."""
    opened = await Registry.open(config, world.crypto)
    yield opened
    await opened.close()


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    """A prompt where there is no hub yet."""
    return Shell(tmp_path)


@pytest.fixture
def shell(empty: Shell) -> Shell:
    """A prompt at a hub that was just made."""
    empty.type("init", "--name", "berlin")
    return empty


@pytest.fixture
async def overheard(hub: MemoryHub) -> Overheard:
    """What the hub sends from now on."""
    # Traffic takes `publish` when it is made; a hub that is listened to is started again.
    await hub.close()
    wire = Overheard(hub)
    await hub.start()
    return wire


@pytest.fixture
def short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub's ingress that closes does not wait for what the broker has not acknowledged."""
    monkeypatch.setattr(ingress, "CLOSE_GRACE", 0.01)
