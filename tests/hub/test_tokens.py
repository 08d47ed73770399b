"""Enrolment tokens: single, batch and shared; bound, consumed, expired and withdrawn."""

import asyncio
import time

import pytest
import registry_world as world
from registry_world import NOW, Speaker, credential, deliver, pending, question

from handfast.core import constants
from handfast.core.errors import LocalError
from handfast.core.token import Token
from handfast.core.topics import TELEMETRY
from handfast_hub import policy
from handfast_hub.registry.enrolment import Pended, Refusal
from handfast_hub.registry.reads import ACK_GRACE, BOUND_TOKEN_GRACE
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.schema import JOINING, ONBOARDED
from handfast_hub.registry.tokens import NewTokens


def single(expires_at: float = NOW + 60) -> NewTokens:
    return NewTokens("sensor", 1, False, 1, expires_at, NOW)


async def state_of(registry: Registry, token: Token) -> str:
    return next(info.state for info in await registry.operator.tokens() if info.token_id == token.token_id)


async def join(registry: Registry, number: int, token: Token, **other: object) -> "Pended | Refusal":
    return await registry.pend(pending(number, attempt=number, token_id=token.token_id, **other))


async def test_a_single_token_admits_one_device_and_is_consumed_when_it_speaks(registry: Registry) -> None:
    now = time.time()
    (token,) = await registry.operator.mint(NewTokens("sensor", 1, False, 1, now + 60, now))
    assert await state_of(registry, token) == "live"
    assert (await registry.admission(question(1, token.token_id, now))).token == policy.LIVE
    outcome = await join(registry, 1, token, now=now)
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    assert await state_of(registry, token) == "bound"
    assert (await registry.admission(question(1, token.token_id, now))).token == policy.BOUND
    assert (await registry.admission(question(2, token.token_id, now))).token == policy.ELSEWHERE
    assert [device.state for device in await registry.operator.devices()] == [JOINING]
    record = Speaker(outcome.stored.device_id, 1).record(0, 0, TELEMETRY, b"x")
    assert (await deliver(registry, outcome.stored.ring, TELEMETRY, record, now=now))[1] is None
    assert await state_of(registry, token) == "used"
    assert [device.state for device in await registry.operator.devices()] == [ONBOARDED]
    assert (await registry.admission(question(1, token.token_id, now))).token == policy.BOUND


async def test_of_two_devices_with_one_token_one_gets_a_key(registry: Registry) -> None:
    (token,) = await registry.operator.mint(single())
    outcomes = await asyncio.gather(*(join(registry, number, token) for number in range(1, 9)))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Pended"] + ["Refusal"] * 7
    late = await join(registry, 9, token)
    assert late == Refusal(policy.STATUS_REFUSED, "its token belongs to another device")


async def test_a_device_may_try_again_with_the_token_that_it_is_bound_to(registry: Registry) -> None:
    (token,) = await registry.operator.mint(single())
    assert isinstance(await join(registry, 1, token), Pended)
    again = pending(1, attempt=2, born=2, epoch=1, token_id=token.token_id)
    assert isinstance(await registry.pend(again), Pended)


async def test_a_token_that_expired_during_the_handshake_gives_no_key(registry: Registry) -> None:
    (token,) = await registry.operator.mint(single())
    outcome = await join(registry, 1, token, now=NOW + 60)
    assert outcome == Refusal(policy.STATUS_REFUSED, "its token has expired")


async def test_a_bound_token_gives_its_device_an_hour_to_finish(registry: Registry) -> None:
    (token,) = await registry.operator.mint(single())
    outcome = await join(registry, 1, token)
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    record = Speaker(outcome.stored.device_id, 1).record(0, 0, TELEMETRY, b"x")
    too_late = NOW + 60 + BOUND_TOKEN_GRACE
    _, refusal = await deliver(registry, outcome.stored.ring, TELEMETRY, record, now=too_late)
    assert refusal == Refusal(None, "its token expired before it spoke")
    _, refusal = await deliver(registry, outcome.stored.ring, TELEMETRY, record, now=too_late - 1)
    assert refusal is None


@pytest.mark.parametrize("shared", [False, True])
async def test_a_token_is_accepted_from_its_device_until_its_ack_must_have_been_heard(
    registry: Registry, shared: bool
) -> None:
    year = 365 * 86400.0
    new = NewTokens("sensor", 1, shared, 1, NOW + year, NOW)
    (token,) = await registry.operator.mint(new)
    outcome = await join(registry, 1, token)
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None

    async def standing(now: float) -> str:
        return (await registry.admission(question(1, token.token_id, now))).token

    # It never spoke: it may try with its token as long as that lives.
    assert await standing(NOW + year / 2) == policy.BOUND
    record = Speaker(outcome.stored.device_id, 1).record(0, 0, TELEMETRY, b"x")
    assert (await deliver(registry, outcome.stored.ring, TELEMETRY, record))[1] is None
    assert await standing(NOW + ACK_GRACE - 1) == policy.BOUND
    assert await standing(NOW + ACK_GRACE) == policy.USED
    # Enrolling again in between gains nothing for a single token.
    again = pending(1, attempt=2, born=2, epoch=2, token_id=token.token_id, now=NOW + 10)
    assert isinstance(await registry.pend(again), Pended)
    assert await standing(NOW + ACK_GRACE) == policy.USED
    # A device that is onboarded needs no token to enrol again; its key then hangs on none.
    late = NOW + year + 2 * BOUND_TOKEN_GRACE
    last = pending(1, attempt=3, born=3, epoch=3, token_id=token.token_id, now=late)
    assert isinstance(await registry.pend(last), Pended)
    ring = await world.ring_of(registry, outcome.stored.device_id)
    record = Speaker(outcome.stored.device_id, 3).record(3, 0, TELEMETRY, b"x")
    assert (await deliver(registry, ring, TELEMETRY, record, now=late))[1] is None


async def test_a_withdrawn_token_admits_nobody_and_its_pending_key_is_not_promoted(
    registry: Registry,
) -> None:
    used, unused = [(await registry.operator.mint(single()))[0] for _ in range(2)]
    outcome = await join(registry, 1, used)
    assert isinstance(outcome, Pended)
    assert outcome.stored is not None
    for token in (used, unused):
        await registry.operator.withdraw(token.token_id)
        assert await state_of(registry, token) == "withdrawn"
        with pytest.raises(LocalError, match="taken back"):
            await registry.operator.withdraw(token.token_id)
    record = Speaker(outcome.stored.device_id, 1).record(0, 0, TELEMETRY, b"x")
    assert (await deliver(registry, outcome.stored.ring, TELEMETRY, record))[1] == Refusal(
        None, "its token was withdrawn"
    )
    assert isinstance(await join(registry, 2, unused), Refusal)


async def test_a_token_that_is_worth_nothing_does_not_hold_up_a_device_that_an_operator_admitted(
    registry: Registry,
) -> None:
    expired, elsewhere, withdrawn = [(await registry.operator.mint(single()))[0] for _ in range(3)]
    assert isinstance(await join(registry, 9, elsewhere), Pended)
    await registry.operator.withdraw(withdrawn.token_id)
    later = NOW + 60 + BOUND_TOKEN_GRACE
    for number, token, now in ((1, expired, later), (2, elsewhere, NOW), (3, withdrawn, NOW)):
        await registry.operator.approve(credential(number).thumbprint)
        device_id = (await registry.admission(question(number))).device_id
        outcome = await join(registry, number, token, now=now, device_id=device_id)
        assert isinstance(outcome, Pended)
        assert outcome.stored is not None
        record = Speaker(outcome.stored.device_id, number).record(0, 0, TELEMETRY, b"x")
        assert (await deliver(registry, outcome.stored.ring, TELEMETRY, record, now=now))[1] is None
    # Nor is it used up for the device that it belongs to.
    assert await state_of(registry, elsewhere) == "bound"


async def test_a_shared_token_admits_as_many_devices_as_its_quota(registry: Registry) -> None:
    (token,) = await registry.operator.mint(NewTokens("lobby", 1, True, 3, NOW + 60, NOW))
    assert token.shared
    outcomes = await asyncio.gather(*(join(registry, number, token) for number in range(1, 6)))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Pended"] * 3 + ["Refusal"] * 2
    assert (await registry.admission(question(2, token.token_id))).token == policy.BOUND
    assert (await registry.admission(question(5, token.token_id))).token == policy.EXHAUSTED
    assert await state_of(registry, token) == "exhausted"
    (info,) = await registry.operator.tokens()
    assert (info.used, info.quota) == (3, 3)


async def test_the_secrets_of_a_batch_are_derived_and_all_found_by_their_ids(registry: Registry) -> None:
    made = await registry.operator.mint(NewTokens("pallet 4", 20, False, 1, NOW + 60, NOW))
    (change,) = [await anext(registry.watch())]
    assert change.kind == "token"
    assert len({token.token_id for token in made}) == len({token.k_tok for token in made}) == 20
    assert [registry.tokens.find(token.token_id) for token in made] == made
    assert registry.tokens.find(b"notoken!") is None
    outcomes = await asyncio.gather(*(join(registry, number, made[number]) for number in range(20)))
    assert all(isinstance(outcome, Pended) for outcome in outcomes)


async def test_the_secret_of_a_batch_token_is_kmac_of_its_id(registry: Registry) -> None:
    from handfast_hub.registry.tokens import batch_secret

    expected = world.crypto.kmac256(b"k" * 32, b"token-id", 32, b"handfast/1 batch")
    assert batch_secret(world.crypto, b"k" * 32, b"token-id") == expected
    assert constants.CUSTOM_BATCH == b"handfast/1 batch"


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (NewTokens("", 1, False, 1, NOW, NOW), "expire in the future"),
        (NewTokens("", 0, False, 1, NOW + 1, NOW), "1 to 100000 tokens"),
        (NewTokens("", 2, True, 5, NOW + 1, NOW), "not both"),
        (NewTokens("", 1, True, 0, NOW + 1, NOW), "1 to 1000000 devices"),
        (NewTokens("", 1, False, 2, NOW + 1, NOW), "only a shared token"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_one_sentence(
    registry: Registry, wish: NewTokens, sentence: str
) -> None:
    with pytest.raises(LocalError, match=sentence):
        await registry.operator.mint(wish)
    assert await registry.operator.tokens() == []


async def test_a_token_says_nothing_about_a_device_that_an_operator_refused(registry: Registry) -> None:
    (token,) = await registry.operator.mint(single())
    await registry.operator.refuse(credential(1).thumbprint, "not ours")
    assert await join(registry, 1, token) != Pended(None)
    assert await state_of(registry, token) in ("live", "early", "expired")
