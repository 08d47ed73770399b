"""Keys ahead and alarms: what was asked for before an alarm is not held after it."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from handfast_hub.trunk.key_source import KmeSource
from handfast_hub.trunk.kme_answers import Key


class SlowKme:
    """Takes its time: the answer leaves when `answer` is set."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def enc_keys(self, peer: str, number: int, size: int, **_: Any) -> list[Key]:
        return await self._keys([str(uuid.uuid4()) for _ in range(number)])

    async def dec_keys(self, peer: str, key_ids: list[str], size: int) -> list[Key]:
        return await self._keys(key_ids)

    async def _keys(self, key_ids: list[str]) -> list[Key]:
        self.asked.set()
        await self.answer.wait()
        return [Key(key_id, os.urandom(32)) for key_id in key_ids]


async def topped_up(source: KmeSource) -> None:
    source._supply.saw(100, 0.0)
    await source.top_up()


async def held(source: KmeSource) -> None:
    await source.hold([os.urandom(16) for _ in range(4)])


@pytest.mark.parametrize("fetch", [topped_up, held])
@pytest.mark.parametrize("alarm", [False, True])
async def test_keys_on_their_way_to_the_reserve_do_not_survive_an_alarm(
    fetch: Callable[[KmeSource], Awaitable[None]], alarm: bool
) -> None:
    kme = SlowKme()
    source = KmeSource(kme, "hub-vienna", 60.0, reserve=4, clock=lambda: 0.0)  # type: ignore[arg-type]
    fetching = asyncio.ensure_future(fetch(source))
    await asyncio.wait_for(kme.asked.wait(), 60)
    if alarm:
        source.void()
    kme.answer.set()
    await asyncio.wait_for(fetching, 60)
    assert len(source.ids()) == (0 if alarm else 4)
