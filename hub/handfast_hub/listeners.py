"""Hands what was committed to the programs that listen, each at its own pace."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

# What waits for one slow listener; the oldest goes first, and stays in the registry.
LIMIT = 10_000


class Listeners(Generic[Item]):
    """Any number of them; each hears everything from when it begins to listen."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Item]] = set()

    def put(self, item: Item) -> None:
        """Give an item to everybody who listens."""
        for queue in self._queues:
            if queue.qsize() >= LIMIT:
                queue.get_nowait()
            queue.put_nowait(item)

    async def listen(self) -> AsyncIterator[Item]:
        """What is put from now on."""
        queue: asyncio.Queue[Item] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)
