"""Onboarding through the shell: the good way, what keeps a device waiting, and what ends it."""

import asyncio

from host_crypto import crypto
from outsider import read_message_1
from pair import SHARED_TOKEN, TOKEN
from world import World, caught

from handfast.core import cbor
from handfast.core.errors import EntropyError, LocalError, RefusedError
from handfast.core.root_key import application_key
from handfast.settings import Settings
from handfast.testing import LossyLink


async def test_a_device_that_the_hub_knows_comes_on_board() -> None:
    world = World()
    await world.start()
    device = await world.device()
    assert (device.state, device.device_id) == ("factory", None)
    await world.onboard(device, 1.0)
    assert device.state == "active"
    assert device.device_id == world.known(device).ring.device_id
    assert world.known(device).ring.active is not None
    assert device.key("logs") != device.key("updates")
    await device.close()


async def test_both_ends_have_the_same_device_key() -> None:
    world = World()
    await world.start()
    device = await world.device()
    await world.onboard(device)
    assert application_key(crypto, world.hub.device_key(world.known(device)), "logs") == device.key("logs")
    await device.close()


async def test_a_token_admits_a_stranger_and_is_forgotten_when_the_hub_was_heard() -> None:
    for token, mixed in ((TOKEN, True), (SHARED_TOKEN, False)):
        world = World(tokens=(token,))
        await world.start()
        device = await world.device(token=token)
        stored = device._host.keystore.values["hub"]
        assert token.k_tok in stored
        await world.onboard(device)
        assert [given.mixed for given in world.hub.granted] == [mixed]
        for value in device._host.keystore.values.values():
            assert token.k_tok not in value
        await device.close()


async def test_a_token_of_another_device_is_refused_for_good() -> None:
    world = World(tokens=(TOKEN,))
    await world.start()
    device = await world.device(token=TOKEN)
    world.hub.bound[TOKEN.token_id] = b"the thumbprint of another device"
    error = await world.failure(device)
    assert isinstance(error, RefusedError)
    assert device.state == "refused"
    await device.close()


async def test_an_unknown_token_meets_silence_and_the_device_tries_on() -> None:
    world = World()
    await world.start()
    device = await world.device(token=TOKEN)
    task = asyncio.create_task(caught(device.onboard()))
    await world.clock.advance(400.0)
    assert not task.done()
    assert device.state == "trying"
    assert len(world.attempts()) > 3
    assert world.hub.opened_gates == 0
    await device.close()
    assert isinstance(await task, LocalError)


async def test_a_stranger_waits_for_approval_and_is_let_in() -> None:
    world = World(approval=True)
    await world.start()
    device = await world.device(admitted=False)
    task = asyncio.create_task(caught(device.onboard()))
    await world.clock.advance(10.0)
    assert device.state == "waiting"
    assert "operator" in device.trouble
    attempts = len(world.attempts())
    # As long as the hub has said, and not longer than a quarter more.
    await world.clock.advance(19.0)
    assert len(world.attempts()) == attempts
    world.known(device).state = "admitted"
    await world.clock.advance(25.0)
    assert task.done()
    assert device.state == "active"
    await device.close()


async def test_a_refusal_is_kept_until_somebody_asks_again() -> None:
    world = World()
    await world.start()
    device = await world.device(admitted=False)
    assert isinstance(await world.failure(device), RefusedError)
    assert device.state == "refused"
    seen = len(world.seen)
    # Neither the same object nor a restart asks again by itself.
    assert isinstance(await world.failure(device, 100.0), RefusedError)
    await device.close()
    device = world.again(device)
    assert isinstance(await world.failure(device, 100.0), RefusedError)
    assert len(world.seen) == seen
    # Asked again, and refused again: this is kept too.
    assert isinstance(await world.failure(device, retry=True), RefusedError)
    assert len(world.seen) > seen
    await device.close()
    device = world.again(device, b"boot 3")
    assert isinstance(await world.failure(device), RefusedError)
    world.hub.admitted.append(device.thumbprint)
    await world.onboard(device, retry=True)
    assert device.state == "active"
    await device.close()
    device = world.again(device, b"boot 4")
    await world.onboard(device)
    await device.close()


async def test_a_suite_that_the_hub_has_not_is_followed_by_the_next_one() -> None:
    world = World(suites=(-22,))
    await world.start()
    device = await world.device()
    await world.onboard(device)
    assert [read_message_1(payload).suites_i for topic, payload in world.seen if payload[:1] == b"\xf5"] == [
        (-21,),
        (-21, -22),
    ]
    assert device.stored_session().suite == -22
    await device.close()


async def test_a_hub_that_lost_its_registry_gets_the_credential_by_value_again() -> None:
    """After an hour of silence, with the key that it has, by kid; then, still at once, by value."""
    world = World()
    await world.start()
    device = await world.device()
    await world.onboard(device)
    await device.close()
    world.hub.forget(device.thumbprint)
    device = world.again(device)
    await world.onboard(device)
    key = device.key("logs")
    await world.clock.advance(3500.0)
    assert device.key("logs") == key
    attempts = len(world.attempts())
    await world.clock.advance(200.0)
    assert len(world.attempts()) == attempts + 2
    assert device.key("logs") != key
    assert device.state == "active"
    await device.send(b"I am back")
    await world.clock.advance(1.0)
    assert world.data() == [b"I am back"]
    await device.close()


async def test_a_refusal_by_the_hub_itself_counts_also_while_a_key_is_held() -> None:
    world = World()
    await world.start()
    device = await world.device()
    await world.onboard(device)
    await device.close()
    # The hub lost the key but knows that it wants this device no more.
    world.known(device).state = "refused"
    world.known(device).ring = world.hub.empty_ring(device.device_id)
    device = world.again(device)
    await world.onboard(device)
    await world.clock.advance(3700.0)
    assert device.state == "refused"
    try:
        await device.send(b"x")
        raise AssertionError("a refused device sends nothing")
    except RefusedError:
        pass
    await device.close()


async def test_a_device_comes_on_board_over_a_bad_network() -> None:
    world = World()
    await world.start()
    for seed in (1, 2, 3):
        bad = LossyLink(loss=0.2, duplicate=0.2, reorder=3, delay=(0.0, 0.5), seed=seed)
        device = await world.device(
            b"lossy %d" % seed, wrap=lambda link, bad=bad: bad.over(link, world.clock)
        )
        await world.onboard(device, 300.0)
        assert device.state == "active"
        await device.close()


async def test_onboarding_in_small_packets() -> None:
    world = World()
    await world.start()
    device = await world.device(settings=Settings(packet_limit=1024))
    task = asyncio.create_task(caught(device.onboard()))
    await world.clock.advance(1.0)
    payloads = [payload for topic, payload in world.seen if topic.chan is not None]
    assert len(payloads) > 1
    assert max(len(payload) for payload in payloads) <= 1024
    await device.close()
    await task


async def test_devinfo_tells_what_the_settings_say() -> None:
    world = World()
    await world.start()
    device = await world.device(settings=Settings(firmware="1.2.3", hardware="board 7"))
    await world.onboard(device)
    info = cbor.decode(world.known(device).devinfo)
    assert (info[0], info[1], info[2][0], info[2][3]) == ("1.2.3", "board 7", 3, 0)
    await device.close()


async def test_a_source_in_alarm_makes_no_key_and_sends_nothing() -> None:
    world = World()
    await world.start()
    device = await world.device()
    entropy = device._host.entropy

    async def alarm(draws: int) -> None:
        raise EntropyError("the source repeats itself")

    healthy, entropy.prepare = entropy.prepare, alarm
    error = await world.failure(device)
    assert isinstance(error, EntropyError)
    assert world.seen == []
    # When it has recovered, the same device can be asked again.
    entropy.prepare = healthy
    await world.onboard(device)
    await device.close()


async def test_a_host_hears_each_step_of_an_enrolment_and_its_end_well_or_not() -> None:
    world = World()
    await world.start()
    device = await world.device()
    entropy, steps = device._host.entropy, []

    def passed(step: str) -> None:
        # Said only where memory is short, whenever the credential is read.
        if step != "message_2":
            steps.append(step)

    device._host.passed = passed

    async def alarm(draws: int) -> None:
        raise EntropyError("the source repeats itself")

    healthy, entropy.prepare = entropy.prepare, alarm
    await world.failure(device)
    assert steps == ["enrolled"]
    entropy.prepare = healthy
    await world.onboard(device)
    assert steps[:5] == ["enrolled", "drawn", "message_1", "message_3", "enrolled"]
    # Who the hub is was stored with the key, and later that the token is used.
    assert set(steps[5:]) == {"identity"}
    await device.close()
