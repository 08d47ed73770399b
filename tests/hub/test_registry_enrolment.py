"""Enrolment in the registry on a real database: who gets a key, and which keys it keeps."""

import asyncio
import time
from pathlib import Path

import pytest
import registry_world as world
from registry_world import (
    NOW,
    Speaker,
    admit,
    credential,
    deliver,
    granted,
    onboard,
    pending,
    question,
    ring_of,
)

from handfast.core.topics import TELEMETRY
from handfast_hub import policy
from handfast_hub.config import HubConfig
from handfast_hub.registry.enrolment import Question, Refusal
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ADMITTED, ONBOARDED, WAITING


def everything_in(folder: Path) -> bytes:
    """The database with its write-ahead log."""
    return b"".join(path.read_bytes() for path in folder.glob("hub.sqlite*"))


async def test_a_stranger_has_no_standing(registry: Registry) -> None:
    standing = await registry.admission(question(1))
    assert standing == (None, None, None, 0, policy.NONE, None)
    assert await registry.admission(Question(None, b"nobodyhe", b"notoken!", NOW)) == (
        None,
        None,
        None,
        0,
        policy.UNKNOWN,
        None,
    )


async def test_a_device_is_admitted_granted_and_onboarded(registry: Registry) -> None:
    await admit(registry, 1)
    standing = await registry.admission(question(1))
    assert (standing.state, standing.epoch) == (ADMITTED, 0)
    ring = await granted(registry, 1)
    assert [answer.message_4 for answer in await registry.answers(NOW)] == [pending(1).message_4]
    assert await registry.answers(NOW + 1) == []
    record = Speaker(ring.device_id, 1).record(0, 0, TELEMETRY, b"21.5 C")
    after, refusal = await deliver(registry, ring, TELEMETRY, record, b"21.5 C")
    assert refusal is None
    assert after.active is not None
    assert await registry.answers(NOW) == []
    (device,) = await registry.operator.devices(ONBOARDED)
    assert (device.device_id, device.onboarded_at) == (ring.device_id, NOW)
    (reading,) = await registry.operator.readings(0, 10)
    assert (reading.device_id, reading.data, reading.channel) == (ring.device_id, b"21.5 C", TELEMETRY)


async def test_a_key_comes_back_from_the_database_as_it_went_in(
    registry: Registry, config: HubConfig
) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    await registry.close()
    again = await Registry.open(config, world.crypto)
    loaded = await ring_of(again, ring.device_id)
    await again.close()
    # Nobody knows which reserved numbers were used: it sends from the bound on.
    assert loaded.active == ring.active._replace(send_next=ring.active.send_bound)
    assert loaded[2:] == ring[2:]


async def test_a_device_is_found_by_its_kid_with_its_credential(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    standing = await registry.admission(Question(None, credential(1).kid, None, NOW))
    assert standing.thumbprint == credential(1).thumbprint
    assert standing.credential == credential(1).encoded
    assert (standing.device_id, standing.state, standing.epoch) == (ring.device_id, ONBOARDED, 2)


async def test_r1_a_handshake_that_began_before_a_key_is_dropped_in_silence(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await granted(registry, 1, born=5)
    late = pending(1, attempt=2, born=4, epoch=1, device_id=ring.device_id)
    outcome = await registry.pend(late)
    assert isinstance(outcome, Refusal)
    assert outcome.status is None
    assert len((await ring_of(registry, ring.device_id)).pendings) == 1


async def test_r2_a_new_pending_deletes_the_others_but_the_one_that_the_device_holds(
    registry: Registry,
) -> None:
    await admit(registry, 1)
    await granted(registry, 1, attempt=1, born=1)
    await granted(registry, 1, attempt=2, born=2, have=world.some("attempt", 1, 16))
    ring = await granted(registry, 1, attempt=3, born=3, have=world.some("attempt", 1, 16))
    assert [key.attempt for key in ring.pendings] == [world.some("attempt", number, 16) for number in (1, 3)]
    assert [key.epoch for key in ring.pendings] == [0, 2]


async def test_r3_promotion_deletes_what_was_born_before_and_nothing_later(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1, attempt=1, born=1)
    ring = await granted(registry, 1, attempt=2, born=2)
    stale = ring
    # The hub in memory does not know of the third attempt when the second one speaks.
    await granted(registry, 1, attempt=3, born=3, have=world.some("attempt", 2, 16))
    record = Speaker(ring.device_id, 2).record(stale.pendings[0].epoch, 0, TELEMETRY, b"x")
    _, refusal = await deliver(registry, stale, TELEMETRY, record)
    assert refusal is None
    ring = await ring_of(registry, ring.device_id)
    assert ring.active.attempt == world.some("attempt", 2, 16)
    assert [key.attempt for key in ring.pendings] == [world.some("attempt", 3, 16)]


async def test_an_epoch_that_was_given_meanwhile_is_refused(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await granted(registry, 1, attempt=1, born=1)
    twin = pending(1, attempt=2, born=2, epoch=0, device_id=ring.device_id)
    assert isinstance(await registry.pend(twin), Refusal)


async def test_two_handshakes_of_one_device_in_one_group_give_one_key(registry: Registry) -> None:
    await admit(registry, 1)
    standing = await registry.admission(question(1))
    assert standing.device_id is not None
    outcomes = await asyncio.gather(
        *(
            registry.pend(pending(1, attempt=number, born=number, device_id=standing.device_id))
            for number in (1, 2)
        )
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Pended", "Refusal"]


async def test_a_device_that_was_revoked_or_refused_during_its_handshake_gets_no_key(
    registry: Registry,
) -> None:
    for number, decide in ((1, registry.operator.revoke), (2, registry.operator.refuse)):
        await admit(registry, number)
        standing = await registry.admission(question(number))
        await decide(credential(number).thumbprint, "lost")
        assert standing.device_id is not None
        outcome = await registry.pend(pending(number, device_id=standing.device_id))
        assert isinstance(outcome, Refusal)
        assert outcome.status == policy.STATUS_REFUSED


async def test_nobody_gets_a_key_whom_nothing_admits(registry: Registry) -> None:
    outcome = await registry.pend(pending(1))
    assert isinstance(outcome, Refusal)
    assert await registry.operator.devices() == []


async def test_strangers_wait_and_the_oldest_go_when_there_are_too_many(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handfast_hub.registry import decisions

    monkeypatch.setattr(decisions, "WAITING_LIMIT", 3)
    for number in range(5):
        await registry.ask(
            decisions.Ask(credential(number), world.some("device id", number, 8), b"\xa0", NOW + number)
        )
    waiting = await registry.operator.devices(WAITING)
    assert [device.thumbprint for device in waiting] == [
        credential(number).thumbprint for number in (2, 3, 4)
    ]
    await admit(registry, 3)
    assert (await registry.admission(question(3))).state == ADMITTED


async def test_no_secret_lies_open_in_the_database(registry: Registry, config: HubConfig) -> None:
    from handfast_hub.registry.tokens import NewTokens

    await admit(registry, 1)
    await onboard(registry, 1)
    minted = await registry.operator.mint(NewTokens("", 1, False, 1, time.time() + 60, time.time()))
    minted += await registry.operator.mint(NewTokens("", 3, False, 1, time.time() + 60, time.time()))
    content = everything_in(Path(config.database).parent)
    assert minted[0].token_id in content
    secrets = [token.k_tok for token in minted]
    secrets += [world.some("secret", 1, 64), world.some("root key", 1, 64), registry.identity.seed]
    assert [secret for secret in secrets if secret in content] == []
