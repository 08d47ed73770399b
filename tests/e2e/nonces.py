"""A client beside the hub that sees every record and counts what was sealed under each nonce."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiomqtt
from mosquitto import Mosquitto

from handfast.core import topics
from handfast.core.records import decode_header


def let_watch(broker: Mosquitto) -> None:
    """Let the hub's user read everything; before the broker starts."""
    with (broker.folder / "devices.acl").open("a") as rules:
        rules.write(f"\nuser {broker.username}\ntopic read handfast/1/#\n")


@contextlib.asynccontextmanager
async def watched(broker: Mosquitto) -> AsyncIterator[Counter[tuple[object, ...]]]:
    """How many different records had each nonce; at the end none may have been for two."""
    seen: set[bytes] = set()
    nonces: Counter[tuple[object, ...]] = Counter()

    async def watch() -> None:
        async for message in client.messages:
            topic = topics.parse(str(message.topic))
            if topic.chan is None and isinstance(message.payload, bytes) and message.payload not in seen:
                seen.add(message.payload)
                header = decode_header(message.payload)
                nonces[topic.device_id, header.sender, header.epoch, header.piv] += 1

    async with aiomqtt.Client(
        broker.host,
        broker.port,
        identifier="watcher",
        username=broker.username,
        password=broker.password,
    ) as client:
        await client.subscribe("handfast/1/#", qos=1)
        watching = asyncio.create_task(watch())
        try:
            yield nonces
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert nonces
    assert [nonce for nonce, count in nonces.items() if count > 1] == []
