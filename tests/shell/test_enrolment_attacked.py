"""Onboarding while somebody else answers first, floods or says no."""

import asyncio

from host_crypto import crypto
from outsider import error_frame, forged_message_2, read_message_1
from world import World, caught

from handfast.core import messages, topics
from handfast.core.credentials import id_cred_by_value


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
