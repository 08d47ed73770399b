"""Decisions of an operator in the registry on a real database: approved, refused, revoked."""

import asyncio
import threading
import time

import pytest
import registry_world as world
from registry_world import (
    NOW,
    Speaker,
    admit,
    credential,
    deliver,
    onboard,
    question,
)
from sqlalchemy.engine import Connection

from handfast.core.errors import LocalError
from handfast.core.topics import TELEMETRY
from handfast_hub.registry.delivery import Delivery
from handfast_hub.registry.enrolment import Refusal
from handfast_hub.registry.group import Operation
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ONBOARDED, REVOKED


async def test_nothing_of_a_revoked_device_is_delivered_after_the_commit(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    record = Speaker(ring.device_id, 1).record(0, 1, TELEMETRY, b"secret")
    result = world.opened(ring, TELEMETRY, record)
    # The thread is busy with a group that is closed, so both wait for the next one, the delivery first.
    begun, gate = threading.Event(), threading.Event()

    def wait(_: Connection, items: "list[None]") -> "list[None]":
        begun.set()
        gate.wait(60)
        return items

    before = registry._group.submit(Operation(wait), None)
    assert await asyncio.to_thread(begun.wait, 10)
    delivery = asyncio.ensure_future(
        registry.deliver(Delivery(ring, result, TELEMETRY, b"secret", None, NOW))
    )
    revocation = asyncio.ensure_future(registry.operator.revoke(credential(1).thumbprint, "stolen"))
    await asyncio.sleep(0)
    gate.set()
    refusal = await delivery
    await asyncio.gather(before, revocation)
    assert refusal is not None
    assert await registry.operator.readings(0, 9) == []
    assert await registry.reserve(ring) is not None
    stored = await registry.load(ring.device_id, NOW)
    assert stored is not None
    assert (stored.state, stored.ring.active, stored.ring.pendings) == (REVOKED, None, ())


async def test_a_revoked_device_is_told_beyond_every_number_that_the_hub_may_have_used(
    registry: Registry,
) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    await registry.operator.revoke(credential(1).thumbprint, "lost")
    now = time.time()
    (record,) = await registry.last_records(ring.device_id, 0, now)
    assert len(await registry.last_records(ring.device_id, 1, now)) == 1
    assert await registry.last_records(ring.device_id, 2, now) == []
    assert await registry.last_records(ring.device_id, 0, now + 86401) == []
    from handfast.core.records import decode_header

    assert decode_header(record).piv == ring.active.send_bound


async def test_a_record_under_a_key_that_another_process_deleted_is_refused(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    thumbprint = credential(1).thumbprint
    await registry.operator.revoke(thumbprint, "mistake")
    with pytest.raises(LocalError, match="--again"):
        await registry.operator.approve(thumbprint)
    await registry.operator.approve(thumbprint, again=True)
    record = Speaker(ring.device_id, 1).record(0, 1, TELEMETRY, b"x")
    _, refusal = await deliver(registry, ring, TELEMETRY, record, b"x")
    assert refusal == Refusal(None, "its key is gone")
    assert (await registry.admission(question(1))).epoch == 1


async def test_an_unknown_device_can_be_revoked_before_it_comes(registry: Registry) -> None:
    await registry.operator.revoke(credential(1).thumbprint, "stolen from the shelf")
    assert (await registry.admission(question(1))).state == REVOKED


async def test_approving_twice_changes_nothing_and_says_so(registry: Registry) -> None:
    thumbprint = credential(1).thumbprint
    assert await registry.operator.approve(thumbprint)
    assert not await registry.operator.approve(thumbprint)
    ring = await onboard(registry, 1)
    assert not await registry.operator.approve(thumbprint, label="hall")
    (device,) = await registry.operator.devices()
    assert (device.state, device.label) == (ONBOARDED, "hall")
    # It can be commanded as before.
    assert await registry.operator.command(NewCommand(ring.device_id, b"blink", NOW + 60, NOW))
    events = await registry.operator.events(thumbprint, 10)
    assert [event.kind for event in events] == ["admitted", "onboarded", "command"]


async def test_an_onboarded_device_is_revoked_and_not_refused(registry: Registry) -> None:
    await admit(registry, 1)
    await onboard(registry, 1)
    with pytest.raises(LocalError, match="revoke"):
        await registry.operator.refuse(credential(1).thumbprint, "no")
