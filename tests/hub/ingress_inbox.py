"""Where the tests of the hub's ingress collect what comes from a broker."""

import asyncio
from collections.abc import Callable

from handfast.core.topics import hub_subscriptions, onboarding

HUB = bytes(8)
FILTERS = hub_subscriptions(HUB)
CHAN = onboarding(HUB, bytes(14))


class Inbox:
    """Collects what `on_publish` was given."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[tuple[str, bytes, Callable[[], None]]] = asyncio.Queue()

    def __call__(self, topic: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        self.items.put_nowait((topic, payload, acknowledge))

    async def next(self) -> tuple[str, bytes, Callable[[], None]]:
        """Topic, payload and how to acknowledge it."""
        return await asyncio.wait_for(self.items.get(), 60)


def publish_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH at QoS 1 of less than 128 bytes."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id.to_bytes(2, "big") + payload
    assert len(body) < 128
    return bytes((0x32, len(body))) + body
