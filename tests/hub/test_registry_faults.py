"""A registry that is locked, full, gone or not ours: one sentence, and nothing lost."""

import sqlite3
from pathlib import Path

import pytest
import registry_world as world
from registry_world import (
    admit,
)

from handfast.core.errors import KeystoreError
from handfast_hub.config import HubConfig
from handfast_hub.installation import create_hub
from handfast_hub.registry import engine
from handfast_hub.registry.engine import RegistryError, RegistryLocked
from handfast_hub.registry.registry import Registry


async def test_a_closed_registry_says_so(registry: Registry) -> None:
    await registry.close()
    await registry.close()
    with pytest.raises(RegistryError, match="closed"):
        await registry.operator.devices()


async def test_a_locked_database_is_one_sentence_and_loses_nothing(
    config: HubConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.05)
    registry = await Registry.open(config, world.crypto)
    await admit(registry, 1)
    other = sqlite3.connect(config.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegistryLocked, match="is locked by another process"):
        await admit(registry, 2)
    assert len(await registry.operator.devices()) == 1
    other.execute("ROLLBACK")
    other.close()
    await admit(registry, 2)
    assert len(await registry.operator.devices()) == 2
    await registry.close()


async def test_a_full_disk_is_one_sentence_and_loses_nothing(config: HubConfig) -> None:
    registry = await Registry.open(config, world.crypto)
    await admit(registry, 1)
    raw = registry._group._open().connection.driver_connection
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RegistryError, match="the disk is full") as failure:
        for number in range(2, 500):
            await admit(registry, number)
    assert not failure.value.retryable
    before = len(await registry.operator.devices())
    raw.execute("PRAGMA max_page_count = 100000")
    await admit(registry, 1000)
    assert len(await registry.operator.devices()) == before + 1
    await registry.close()


async def test_a_database_that_cannot_be_written_is_one_sentence(config: HubConfig) -> None:
    registry = await Registry.open(config, world.crypto)
    registry._group._open().connection.driver_connection.execute("PRAGMA query_only = ON")
    with pytest.raises(RegistryError, match="cannot be written"):
        await admit(registry, 1)
    assert await registry.operator.devices() == []
    await registry.close()


async def test_a_missing_or_foreign_database_is_one_sentence(config: HubConfig) -> None:
    away = config.model_copy(update={"database": f"{config.database}.away"})
    with pytest.raises(RegistryError, match="cannot be opened"):
        await Registry.open(away, world.crypto)
    assert list(config.master_key.parent.glob("*.away")) == []
    foreign = config.model_copy(update={"database": str(config.master_key)})
    with pytest.raises(RegistryError, match="is not a database"):
        await Registry.open(foreign, world.crypto)


async def test_a_wrong_master_key_is_one_sentence(config: HubConfig) -> None:
    from handfast_hub.vault import create_master_key

    config.master_key.unlink()
    create_master_key(config.master_key)
    with pytest.raises(KeystoreError, match="master key is not the one"):
        await Registry.open(config, world.crypto)


def test_a_hub_that_exists_is_not_made_again(config: HubConfig) -> None:
    before = Path(config.database).read_bytes(), config.master_key.read_bytes()
    with pytest.raises(RegistryError, match="has a hub already"):
        create_hub(config, world.crypto)
    assert (Path(config.database).read_bytes(), config.master_key.read_bytes()) == before
