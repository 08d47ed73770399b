"""Work beside other work: one that fails ends the others, and a cancelled caller stays cancelled."""

import asyncio

import pytest

from handfast.core.errors import LinkClosed
from handfast_kme.tasks import all_of


async def test_one_that_fails_ends_the_others() -> None:
    ended = asyncio.Event()

    async def fails() -> None:
        # Until the other one waits.
        await asyncio.sleep(0)
        raise LinkClosed("the peer is gone")

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    with pytest.raises(LinkClosed):
        await all_of(waits(), fails())
    assert ended.is_set()


async def test_a_line_that_is_cancelled_in_the_moment_in_which_an_end_fails_stays_cancelled() -> None:
    loop = asyncio.get_running_loop()
    alice, bob = loop.create_future(), loop.create_future()

    async def end(future: asyncio.Future[list[object]]) -> list[object]:
        return await future

    waiting = asyncio.create_task(all_of(end(alice), end(bob)))
    # Until both ends are awaited.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    alice.set_exception(LinkClosed("the peer is gone"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
