"""Fixtures of more than one file here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import registry_world as world
from operator_shell import Shell

from handfast_hub.config import HubConfig
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
