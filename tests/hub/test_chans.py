"""A message_4 goes to the chan of its message_1 and to no other, however often it is asked for."""

from collections.abc import Callable

from handfast.core import topics
from handfast.core.messages import decode_frame
from handfast_cpython.swarm import Swarm
from handfast_hub.memory_hub import MemoryHub


class Wire:
    """What goes through the broker: message_3 of a device as it came, and every answer of the hub."""

    def __init__(self, hub: MemoryHub, *, records: bool) -> None:
        self.message_3: tuple[str, bytes] | None = None
        self.answers: list[tuple[str, bytes]] = []
        self._carry, self._publish = hub.broker.carry, hub.broker.publish
        self._records = records
        hub.broker.carry = self.carry  # type: ignore[method-assign]
        hub.broker.publish = self.publish  # type: ignore[method-assign]

    def carry(self, topic: str, payload: bytes) -> None:
        if topics.parse(topic).chan is None:
            if self._records:
                self._carry(topic, payload)
            return
        if decode_frame(payload).c_x is not None:
            self.message_3 = (topic, payload)
        self._carry(topic, payload)

    def publish(self, topic: str, payload: bytes) -> None:
        self.answers.append((topic, payload))
        self._publish(topic, payload)


def other_chan(hub: MemoryHub, number: int) -> str:
    return str(topics.onboarding(hub.hub_id[:8], number.to_bytes(topics.CHAN_LENGTH, "big")).up)


async def onboarded(hub: MemoryHub, swarm: Callable[..., Swarm], wire: Wire) -> tuple[str, bytes]:
    """One device that has its message_4; its message_3."""
    async with swarm(devices=1, seed=7) as fleet:
        await fleet.onboard(within=20)
    assert wire.message_3 is not None
    wire.answers.clear()
    return wire.message_3


async def test_a_repeated_message_3_is_answered_on_its_own_chan_alone(
    hub: MemoryHub, swarm: Callable[..., Swarm]
) -> None:
    # Traffic and sessions take `publish` when they are made.
    await hub.close()
    wire = Wire(hub, records=True)
    await hub.start()
    topic, message_3 = await onboarded(hub, swarm, wire)
    hub.broker.carry(other_chan(hub, 1), message_3)
    await hub.fake_clock.advance(1)
    assert wire.answers == []
    hub.broker.carry(topic, message_3)
    await hub.fake_clock.advance(1)
    assert [answer[0] for answer in wire.answers] == [topics.reply_topic(topic)]


async def test_an_answer_of_an_earlier_process_belongs_to_the_first_chan_that_asks_rightly(
    hub: MemoryHub, swarm: Callable[..., Swarm]
) -> None:
    await hub.close()
    wire = Wire(hub, records=False)  # so its key stays pending, with its message_4
    await hub.start()
    topic, message_3 = await onboarded(hub, swarm, wire)
    await hub.close()
    await hub.start()
    wrong = message_3[:-1] + bytes([message_3[-1] ^ 1])
    hub.broker.carry(other_chan(hub, 1), wrong)
    hub.broker.carry(topic, message_3)
    hub.broker.carry(other_chan(hub, 2), message_3)
    hub.broker.carry(topic, message_3)
    await hub.fake_clock.advance(1)
    assert [answer[0] for answer in wire.answers] == [topics.reply_topic(topic)] * 2
    assert wire.answers[0] == wire.answers[1]
