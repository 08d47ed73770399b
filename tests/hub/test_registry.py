"""The registry on a real database: enrolment, delivery, revocation, and several processes at once."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
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
from sqlalchemy.engine import Connection

from handfast.core import hub_session
from handfast.core.errors import KeystoreError, LocalError
from handfast.core.key_cache import KeyCache
from handfast.core.topics import CONTROL, TELEMETRY
from handfast_hub import policy
from handfast_hub.config import HubConfig
from handfast_hub.installation import create_hub
from handfast_hub.registry import engine, group, lease
from handfast_hub.registry.delivery import Delivery, RingOutOfDate
from handfast_hub.registry.engine import RegistryError, RegistryLocked
from handfast_hub.registry.enrolment import Pended, Question, Refusal
from handfast_hub.registry.group import Operation
from handfast_hub.registry.operator import NewCommand
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import ADMITTED, JOINING, ONBOARDED, REVOKED, WAITING
from handfast_hub.registry.traffic import Dispatch


@pytest.fixture
def config(tmp_path: Path) -> HubConfig:
    return world.new_hub(tmp_path)


@pytest.fixture
async def registry(config: HubConfig) -> AsyncIterator[Registry]:
    opened = await Registry.open(config, world.crypto)
    yield opened
    await opened.close()


def everything_in(folder: Path) -> bytes:
    """The database with its write-ahead log."""
    return b"".join(path.read_bytes() for path in folder.glob("hub.sqlite*"))


# Enrolment


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


# Delivery


async def test_a_pending_by_token_is_joining_until_it_speaks(registry: Registry) -> None:
    await admit(registry, 1)
    await granted(registry, 1)
    assert (await registry.admission(question(1))).state == ADMITTED
    assert await registry.operator.devices(JOINING) == []


async def test_an_epoch_step_is_kept_with_the_receive_key_of_the_epoch_before(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    ring, _ = await deliver(
        registry, ring, CONTROL, speaker.record(1, 0, CONTROL, b"\x81\x03", first_epoch=0)
    )
    assert ring.active.epoch == 1
    loaded = await ring_of(registry, ring.device_id)
    assert (loaded.active.epoch, loaded.active.secret) == (1, ring.active.secret)
    late = speaker.record(0, 1, TELEMETRY, b"late")
    ring, refusal = await deliver(registry, loaded, TELEMETRY, late, b"late")
    assert refusal is None
    # Its window is kept too: once is enough.
    loaded = await ring_of(registry, ring.device_id)
    with pytest.raises(Exception, match="accepted before"):
        world.opened(loaded, TELEMETRY, late)
    # After its time it is erased by the next record.
    later = NOW + 61
    ring, _ = await deliver(
        registry, ring, TELEMETRY, speaker.record(1, 1, TELEMETRY, b"x", first_epoch=0), now=later
    )
    assert (await ring_of(registry, ring.device_id)).active.previous is None


async def test_a_window_is_on_the_disk_before_its_record_is_delivered(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    for piv in (5, 3, 9):
        ring, _ = await deliver(registry, ring, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"), b"x")
    loaded = await ring_of(registry, ring.device_id)
    assert loaded.active.window == ring.active.window
    for piv in (0, 5, 3, 9):
        with pytest.raises(Exception, match="accepted before"):
            world.opened(loaded, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"))


async def test_what_was_kept_for_the_first_record_is_not_read_after_it(registry: Registry) -> None:
    await admit(registry, 1)
    standing = await registry.admission(question(1))
    assert standing.device_id is not None
    outcome = await registry.pend(pending(1, device_id=standing.device_id))
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    ring = outcome.stored.ring
    record = Speaker(ring.device_id, 1).record(0, 0, TELEMETRY, b"x")
    after, _ = await deliver(registry, ring, TELEMETRY, record)
    assert (await ring_of(registry, ring.device_id)).active.window == after.active.window


async def test_several_records_of_one_device_share_a_group(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await granted(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    deliveries = []
    for epoch, piv in ((0, 0), (0, 1), (1, 0), (1, 1)):
        result = world.opened(ring, TELEMETRY, speaker.record(epoch, piv, TELEMETRY, b"x", first_epoch=0))
        deliveries.append(Delivery(ring, result, TELEMETRY, b"%d %d" % (epoch, piv), None, NOW))
        ring = result.ring
    assert await asyncio.gather(*(registry.deliver(item) for item in deliveries)) == [None] * 4
    loaded = await ring_of(registry, ring.device_id)
    assert loaded.active.window == ring.active.window
    assert loaded.active.previous is not None
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [
        b"0 0",
        b"0 1",
        b"1 0",
        b"1 1",
    ]


async def test_old_readings_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handfast_hub.registry import delivery

    monkeypatch.setattr(delivery, "_TRIM_EVERY", 4)
    registry = await Registry.open(world.new_hub(tmp_path, "[retention]\nreadings = 5\n"), world.crypto)
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    for piv in range(1, 13):
        ring, _ = await deliver(
            registry, ring, TELEMETRY, speaker.record(0, piv, TELEMETRY, b"x"), b"%d" % piv
        )
    kept = [reading.data for reading in await registry.operator.readings(0, 99)]
    await registry.close()
    assert kept == [b"%d" % piv for piv in range(8, 13)]


# Revocation


async def test_nothing_of_a_revoked_device_is_delivered_after_the_commit(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    record = Speaker(ring.device_id, 1).record(0, 1, TELEMETRY, b"secret")
    result = world.opened(ring, TELEMETRY, record)
    # The thread is busy with a group that is closed, so both wait for the next one, the delivery first.
    begun, gate = threading.Event(), threading.Event()

    def wait(_: Connection, items: "list[None]") -> "list[None]":
        begun.set()
        gate.wait(10)
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


# Sending


async def test_a_reserved_bound_survives_and_belongs_to_its_epoch(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    next_block = ring._replace(active=ring.active._replace(send_bound=2048))
    assert await registry.reserve(next_block) is None
    assert (await ring_of(registry, ring.device_id)).active.send_next == 2048
    for changes in ({"send_bound": 2048}, {"send_bound": 4096}, {"epoch": 1, "send_bound": 3072}):
        other = ring._replace(active=ring.active._replace(**changes))
        with pytest.raises(RingOutOfDate):
            await registry.reserve(other)
    assert (await ring_of(registry, ring.device_id)).active.send_bound == 2048


async def test_two_rings_of_one_device_never_seal_under_the_same_number(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    cache = KeyCache(world.crypto)
    first = hub_session.seal_record(cache, await ring_of(registry, ring.device_id), 0, b"one")
    second = hub_session.seal_record(cache, await ring_of(registry, ring.device_id), 0, b"two")
    assert (first.epoch, first.piv) == (second.epoch, second.piv)
    outcomes = await asyncio.gather(
        registry.reserve(first.ring), registry.reserve(second.ring), return_exceptions=True
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], RingOutOfDate)


async def test_two_rings_of_one_device_deliver_a_record_once(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    record = Speaker(ring.device_id, 1).record(0, 5, TELEMETRY, b"a")
    rings = [await ring_of(registry, ring.device_id) for _ in range(2)]
    deliveries = [
        Delivery(each, world.opened(each, TELEMETRY, record), TELEMETRY, b"a", None, NOW) for each in rings
    ]
    assert await registry.deliver(deliveries[0]) is None
    with pytest.raises(RingOutOfDate):
        await registry.deliver(deliveries[1])
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [b"a"]


async def test_a_record_behind_one_that_failed_does_not_push_it_out_of_the_window(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    speaker = Speaker(ring.device_id, 1)
    failed = speaker.record(0, 5, TELEMETRY, b"a")
    behind = speaker.record(0, 6, TELEMETRY, b"b")
    moved = world.opened(ring, TELEMETRY, failed).ring  # and its delivery fails
    with pytest.raises(RingOutOfDate):
        await registry.deliver(
            Delivery(moved, world.opened(moved, TELEMETRY, behind), TELEMETRY, b"b", None, NOW)
        )
    again = await ring_of(registry, ring.device_id)
    for record, data in ((failed, b"a"), (behind, b"b")):
        opened = world.opened(again, TELEMETRY, record)
        assert await registry.deliver(Delivery(again, opened, TELEMETRY, data, None, NOW)) is None
        again = opened.ring
    assert [reading.data for reading in await registry.operator.readings(0, 9)] == [b"a", b"b"]


async def test_a_command_is_sent_once_and_answered_by_the_record_that_it_went_out_in(
    registry: Registry,
) -> None:
    from handfast.core.plaintexts import Response

    await admit(registry, 1)
    ring = await onboard(registry, 1)
    number = await registry.operator.command(NewCommand(ring.device_id, b"open", NOW + 60, NOW))
    (command,) = await registry.waiting_commands(ring.device_id, 0, NOW)
    assert (command.number, command.data) == (number, b"open")
    assert await registry.dispatch(Dispatch(number, 0, 7, b"record", NOW))
    assert not await registry.dispatch(Dispatch(number, 0, 8, b"another", NOW))
    assert await registry.waiting_commands(ring.device_id, 9, NOW) == []
    result = world.opened(ring, 3, Speaker(ring.device_id, 1).record(0, 1, 3, b"answer"))
    response = Response(0, 7, 0, b"opened")
    assert await registry.deliver(Delivery(ring, result, 3, None, response, NOW)) is None
    found = await registry.operator.find_command(number)
    assert (found.state, found.status, found.answer) == ("answered", 0, b"opened")


async def test_a_command_that_waited_too_long_is_never_sent(registry: Registry) -> None:
    await admit(registry, 1)
    ring = await onboard(registry, 1)
    number = await registry.operator.command(NewCommand(ring.device_id, b"open", NOW + 60, NOW))
    assert await registry.waiting_commands(ring.device_id, 0, NOW + 60) == []
    assert not await registry.dispatch(Dispatch(number, 0, 7, b"record", NOW + 60))
    assert await registry.sweep(NOW + 60) == 1
    assert (await registry.operator.find_command(number)).state == "expired"
    with pytest.raises(LocalError, match="onboarded"):
        await registry.operator.command(NewCommand(b"nobodyhe", b"open", NOW + 60, NOW))


# Processes


async def test_born_grows_over_restarts(config: HubConfig) -> None:
    firsts = []
    for _ in range(3):
        registry = await Registry.open(config, world.crypto)
        firsts.append(await registry.serve())
        await registry.close()
    assert firsts == [0, lease.BORN_BLOCK, 2 * lease.BORN_BLOCK]


async def test_a_second_hub_process_is_turned_away(config: HubConfig, registry: Registry) -> None:
    await registry.serve()
    second = await Registry.open(config, world.crypto)
    with pytest.raises(RegistryLocked, match="serves this hub"):
        await second.serve()
    await registry.close()
    await second.serve()
    await second.close()


async def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(
    registry: Registry, config: HubConfig
) -> None:
    import socket

    with sqlite3.connect(config.database) as connection:
        holder = f"{socket.gethostname()}:4194305:00"  # beyond pid_max
        values = (registry.hub_id, holder, time.time() + 25)
        connection.execute("INSERT INTO lease (hub_id, holder, expires_at) VALUES (?, ?, ?)", values)
    connection.close()
    await registry.serve()


async def test_the_lease_of_another_machine_binds_until_it_runs_out_or_its_clock_jumped() -> None:
    assert lease.alive("elsewhere:1:00", NOW + 25, NOW)
    assert not lease.alive("elsewhere:1:00", NOW, NOW)
    assert not lease.alive("elsewhere:1:00", NOW + 10_000, NOW)


async def test_a_running_hub_hears_what_another_process_does(registry: Registry, config: HubConfig) -> None:
    changes = registry.watch()
    other = await Registry.open(config, world.crypto)
    first = asyncio.ensure_future(anext(changes))
    await admit(other, 1)
    change = await asyncio.wait_for(first, 10)
    assert (change.kind, change.thumbprint) == (ADMITTED, credential(1).thumbprint)
    from handfast_hub.registry.tokens import NewTokens

    (token,) = await other.operator.mint(NewTokens("", 1, False, 1, time.time() + 60, time.time()))
    assert registry.tokens.find(token.token_id) is None
    assert (await asyncio.wait_for(anext(changes), 10)).kind == "token"
    assert registry.tokens.find(token.token_id) == token
    await admit(registry, 2)
    assert (await asyncio.wait_for(anext(changes), 10)).thumbprint == credential(2).thumbprint
    await other.close()


# Failures


async def test_one_item_that_fails_does_not_spoil_its_group(registry: Registry) -> None:
    def run(connection: Connection, items: "list[int]") -> "list[int]":
        if 3 in items:
            raise KeystoreError("three")
        connection.exec_driver_sql("UPDATE hub SET restores = restores + %d" % len(items))
        return [item * 2 for item in items]

    operation: Operation[int, int] = Operation(run)
    group = registry._group
    results = await asyncio.gather(
        *(group.submit(operation, number) for number in range(6)), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, int)] == [0, 2, 4, 8, 10]
    assert isinstance(results[3], KeystoreError)

    def read(connection: Connection, items: "list[None]") -> "list[int]":
        return [connection.exec_driver_sql("SELECT restores FROM hub").scalar_one() for _ in items]

    assert await group.submit(Operation(read, reading=True), None) == 5


async def test_under_load_a_transaction_waits_for_company_and_alone_it_does_not(
    config: HubConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_SLICE_SECONDS", 0.1)
    registry = await Registry.open(config.model_copy(update={"linger_seconds": 0.1}), world.crypto)
    naps: list[float] = []
    monkeypatch.setattr(group.time, "sleep", lambda seconds: naps.append(seconds))

    def count(_: Connection, items: "list[int]") -> "list[int]":
        return [len(items)] * len(items)

    operation: Operation[int, int] = Operation(count)
    for number in range(3):
        assert await registry._group.submit(operation, number) == 1
    assert naps == []
    gate = threading.Event()

    def wait(_: Connection, items: "list[None]") -> "list[None]":
        gate.wait(10)
        return items

    busy = registry._group.submit(Operation(wait), None)
    together = [registry._group.submit(operation, number) for number in range(5)]
    gate.set()
    await busy
    sizes = await asyncio.gather(*together)
    assert max(sizes) > 1
    await registry._group.submit(operation, 0)
    assert naps[0] == 0.1
    await registry.close()


async def test_a_caller_who_left_does_not_hold_up_the_others(registry: Registry) -> None:
    lost = asyncio.ensure_future(registry.operator.approve(credential(1).thumbprint))
    await asyncio.sleep(0)
    lost.cancel()
    await admit(registry, 2)
    assert len(await registry.operator.devices()) in (1, 2)


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


@pytest.mark.parametrize("turns", range(5))
async def test_who_watches_can_be_stopped_at_any_moment(registry: Registry, turns: int) -> None:
    """Also when something has just changed: a hub that closes waits for its watch to end."""

    async def watch() -> None:
        async for _ in registry.watch():
            pass

    watching = asyncio.create_task(watch())
    for _ in range(20):
        registry._changed()
        await asyncio.sleep(0.02)
    for _ in range(turns):
        await asyncio.sleep(0)
    registry._changed()
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    done, _ = await asyncio.wait([watching], timeout=20)
    assert done
