"""Onboarding through the shell: the good way, everything that keeps a device waiting, and what ends it."""

import asyncio

from host_crypto import crypto
from outsider import error_frame, forged_message_2, read_message_1
from pair import SHARED_TOKEN, TOKEN
from world import World, caught

from handfast.core import cbor, messages, topics
from handfast.core.credentials import id_cred_by_value
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


async def test_no_error_message_leads_to_a_weaker_suite_than_both_have() -> None:
    """An attacker answers every message_1 of suite -21 faster than the hub."""
    world = World()
    await world.start()
    forge = _Answering(world, lambda first: error_frame(first.c_i, 2, (-22,)), times=5)
    device = await world.device()
    await world.onboard(device, 300.0)
    assert forge.done == 5
    assert device.stored_session().suite == -21
    # Led to -22, it was the hub that refused: it takes -21, which the list in SUITES_I shows.
    offers = [read_message_1(payload).suites_i for _, payload in world.seen if payload[:1] == b"\xf5"]
    assert (-21, -22) in offers
    assert set(offers) == {(-21,), (-21, -22)}
    await device.close()


async def test_no_error_message_leads_to_a_suite_that_is_not_the_device_s() -> None:
    world = World()
    await world.start()
    _Answering(world, lambda first: error_frame(first.c_i, 2, (-24, -23, 0, 2)), times=2)
    device = await world.device()
    await world.onboard(device, 60.0)
    offers = [read_message_1(payload).suites_i for _, payload in world.seen if payload[:1] == b"\xf5"]
    assert set(offers) == {(-21,)}
    await device.close()


async def test_forged_answers_do_not_stop_a_device() -> None:
    """message_2 by an encapsulation of the attacker's, noise, and errors of every kind, each time first."""
    world = World()
    await world.start()
    hub = world.hub.identity.credential

    def answers(first: "messages.Message1") -> "list[bytes]":
        frame_1 = messages.encode_frame(messages.Frame(None, messages.encode_message_1(first), None))
        return [
            forged_message_2(crypto, frame_1, id_cred_by_value(hub)),
            messages.encode_frame(messages.Frame(first.c_i, b"\x58\x20" + bytes(32), None)),
            error_frame(first.c_i, 1, "go away"),
            error_frame(first.c_i, 3, True),
            b"\x00",
            b"\x85\x48" + bytes(8),
        ]

    _Answering(world, answers, times=1)
    device = await world.device()
    await world.onboard(device, 1.0)
    assert len(world.attempts()) == 1
    await device.close()


async def test_a_flood_cannot_keep_a_session_alive_or_stop_a_resend() -> None:
    world = World()
    await world.start()
    world.away = True
    device = await world.device()
    task = asyncio.create_task(caught(device.onboard()))
    await world.clock.settle()
    chan = topics.onboarding(world.hub.hub_id[:8], world.attempts()[0])
    for _ in range(130):
        await world.clock.advance(0.5)
        for _ in range(3):
            world.broker.publish(chan.down, b"\x00")
    sent = [payload for topic, payload in world.seen if topic.chan == world.attempts()[0]]
    assert len(sent) == 4
    assert len(set(sent)) == 1
    assert len(world.attempts()) == 2
    await device.close()
    await task


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


async def test_an_unauthenticated_no_deletes_nothing() -> None:
    """Silence, noise and error messages for hours: the key stays, and serves when the hub is back."""
    world = World()
    await world.start()
    device = await world.device()
    await world.onboard(device)
    await device.close()
    device = world.again(device)
    world.away = True
    await world.onboard(device)
    _Answering(world, lambda first: [error_frame(first.c_i, code, "no") for code in (1,)], times=100)
    key, stored = device.key("logs"), device.stored_session()
    await world.clock.advance(4 * 3600.0)
    assert len(world.attempts()) > 3
    assert device.key("logs") == key
    assert device.stored_session().attempt == stored.attempt
    world.away = False
    await world.clock.advance(400.0)
    assert device.state == "active"
    await device.send(b"still here")
    await world.clock.advance(1.0)
    assert world.data() == [b"still here"]
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


async def test_a_host_hears_that_an_enrolment_has_ended_well_or_not() -> None:
    world = World()
    await world.start()
    device = await world.device()
    entropy, ends = device._host.entropy, []
    device._host.enrolled = lambda: ends.append(device.state)

    async def alarm(draws: int) -> None:
        raise EntropyError("the source repeats itself")

    healthy, entropy.prepare = entropy.prepare, alarm
    await world.failure(device)
    assert len(ends) == 1
    entropy.prepare = healthy
    await world.onboard(device)
    assert len(ends) == 2
    await device.close()
    assert len(ends) == 2


class _Answering:
    """An attacker who answers the first `times` message_1 before the hub does."""

    def __init__(self, world: World, answer: object, times: int) -> None:
        self.done = 0
        self._world = world
        self._answer = answer
        self._times = times
        self._inner = world.broker._on_publish
        world.broker._on_publish = self._on_publish

    def _on_publish(self, text: str, payload: bytes, acknowledge: object) -> None:
        if payload[:1] == b"\xf5" and self.done < self._times:
            self.done += 1
            answers = self._answer(read_message_1(payload))
            for answer in [answers] if isinstance(answers, bytes) else answers:
                self._world.broker.publish(topics.reply_topic(text), answer)
        self._inner(text, payload, acknowledge)
