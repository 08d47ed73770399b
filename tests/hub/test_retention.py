"""Every table that grows by itself is bounded, and nothing is forgotten that somebody may still need."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import registry_world as world
from registry_world import NOW, Speaker, admit, credential, deliver, onboard, pending, question

from handfast.core.topics import TELEMETRY
from handfast_hub import policy
from handfast_hub.config import HubConfig
from handfast_hub.registry import retention
from handfast_hub.registry.enrolment import Pended
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.reads import ACK_GRACE, BOUND_TOKEN_GRACE
from handfast_hub.registry.registry import TRIM_SECONDS, Registry
from handfast_hub.registry.tokens import NewTokens

DAY = 86400.0


@pytest.fixture
def config(tmp_path: Path) -> HubConfig:
    kept = "readings = 5\nevents = 1000\ncommands = 3\ntokens = 2\n"
    return world.new_hub(tmp_path, f"[retention]\n{kept}")


def count(config: HubConfig, table: str) -> int:
    with contextlib.closing(sqlite3.connect(config.database)) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


async def trim(registry: Registry, now: float) -> None:
    """What the hub does every second, until there is nothing more to do."""
    registry._trim_at = 0.0
    while registry._trim_at <= now:
        await registry.sweep(now)


async def test_readings_of_before_this_start_are_trimmed_too(config: HubConfig, registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    for piv in range(1, 13):
        record = speaker.record(0, piv, TELEMETRY, b"x")
        ring, _ = await deliver(registry, ring, TELEMETRY, record, b"%d" % piv)
    await trim(registry, NOW)
    kept = [reading.data for reading in await registry.operator.readings(0, 99)]
    assert kept == [b"%d" % piv for piv in range(8, 13)]


async def test_the_audit_log_of_a_hub_where_only_operators_act_is_bounded(
    config: HubConfig, registry: Registry
) -> None:
    for number in range(1100):
        await registry.operator.approve(world.some("claimed", number, 32))
    await trim(registry, NOW)
    assert count(config, "events") == 1000
    (newest,) = await registry.operator.events(None, 1)
    assert newest.thumbprint == world.some("claimed", 1099, 32)


async def test_commands_that_are_over_are_trimmed_and_open_ones_stay(
    config: HubConfig, registry: Registry
) -> None:
    await admit(registry, 1)
    device_id = (await onboard(registry, 1)).device_id
    open_one = await registry.operator.command(NewCommand(device_id, b"open", NOW + DAY, NOW))
    for number in range(20):
        await registry.operator.command(NewCommand(device_id, b"%d" % number, NOW + 10, NOW))
    await trim(registry, NOW + 20)
    found = [(command.number, command.state) for command in await registry.operator.commands(99)]
    assert found == [(open_one, "queued"), *((open_one + each, "expired") for each in (18, 19, 20))]


async def test_dead_tokens_go_with_their_bindings_and_batches_and_living_ones_stay(
    config: HubConfig, registry: Registry
) -> None:
    operator = registry.operator
    await operator.mint(NewTokens("batch", 5, False, 1, NOW + 60, NOW))
    (shared,) = await operator.mint(NewTokens("shared", 1, True, 3, NOW + 60, NOW + 1))
    assert isinstance(await registry.pend(pending(1, attempt=1, token_id=shared.token_id)), Pended)
    (used,) = await operator.mint(NewTokens("used", 1, False, 1, NOW + 9 * DAY, NOW + 2))
    (living,) = await operator.mint(NewTokens("living", 1, False, 1, NOW + 9 * DAY, NOW - 5))
    newest = [(await operator.mint(NewTokens("new", 1, False, 1, NOW + 60, NOW + 3)))[0] for _ in range(2)]
    # A device has its key by the used one, and spoke.
    outcome = await registry.pend(pending(2, attempt=2, token_id=used.token_id))
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    record = Speaker(outcome.stored.device_id, 2).record(0, 0, TELEMETRY, b"x")
    assert (await deliver(registry, outcome.stored.ring, TELEMETRY, record))[1] is None
    await trim(registry, NOW + 60 + BOUND_TOKEN_GRACE - 1)
    assert count(config, "tokens") == 10
    await trim(registry, NOW + ACK_GRACE)
    kept = {info.token_id for info in await operator.tokens()}
    # The shared one has a pending key, which is promoted or not by what it says.
    assert kept == {living.token_id, shared.token_id, *(token.token_id for token in newest)}
    assert count(config, "batches") == 0
    assert count(config, "bindings") == 1
    # Its holder is told nothing any more, and the device that it let in goes on.
    assert registry.tokens.gate_key(used.token_id) == (None, None)
    ring = await world.ring_of(registry, outcome.stored.device_id)
    record = Speaker(outcome.stored.device_id, 2).record(0, 1, TELEMETRY, b"y")
    assert (await deliver(registry, ring, TELEMETRY, record))[1] is None


async def test_a_token_that_was_forgotten_admits_nobody(registry: Registry) -> None:
    (token,) = await registry.operator.mint(NewTokens("old", 1, False, 1, NOW + 60, NOW))
    for _ in range(2):
        await registry.operator.mint(NewTokens("new", 1, False, 1, NOW + 60, NOW + 1))
    await trim(registry, NOW + DAY)
    assert (await registry.admission(question(1, token.token_id))).token == policy.UNKNOWN


async def test_last_records_go_when_they_are_not_sent_any_more(config: HubConfig, registry: Registry) -> None:
    import time

    await admit(registry, 1)
    await onboard(registry, 1)
    await registry.operator.revoke(credential(1).thumbprint, "lost")
    assert count(config, "farewells") == 2
    await trim(registry, time.time() + DAY - 60)
    assert count(config, "farewells") == 2
    await trim(registry, time.time() + DAY + 60)
    assert count(config, "farewells") == 0


async def test_a_large_cut_is_made_in_parts_and_a_small_one_now_and_then(
    config: HubConfig, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LARGEST_CUT", 4)
    await admit(registry, 1)
    device_id = (await onboard(registry, 1)).device_id
    for number in range(12):
        await registry.operator.command(NewCommand(device_id, b"%d" % number, NOW + 10, NOW))
    left = []
    for second in range(4):
        await registry.sweep(NOW + 20 + second)
        left.append(count(config, "commands"))
    assert left == [8, 4, 3, 3]
    for number in range(3):
        await registry.operator.command(NewCommand(device_id, b"%d" % number, NOW + 25, NOW))
    await registry.sweep(NOW + 30)
    assert count(config, "commands") == 6
    await registry.sweep(NOW + 30 + TRIM_SECONDS)
    assert count(config, "commands") == 3
