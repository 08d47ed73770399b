"""Work beside other work: all of it or the first error, and work that is done again and again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from handfast.core.errors import Error

T = TypeVar("T")


async def all_of(*work: Awaitable[T]) -> list[T]:
    """Every result, in order; when one fails the others are ended before its error is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    except Error:
        # When one fails in the same moment in which we are cancelled, gather raises the failure alone:
        # without this the caller would go on as if nobody had cancelled it.
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise asyncio.CancelledError from None
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def again_and_again(work: Callable[[], Awaitable[None]], pause: float) -> None:
    """Do it, wait `pause` seconds, until cancelled; an Error is nothing that the next time cannot mend."""
    while True:
        with contextlib.suppress(Error):
            await work()
        await asyncio.sleep(pause)
