"""One call of a library that blocks, at a time, in a thread that keeps nobody from going on."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from handfast_hub.feeds.feeder import FeedError

# Far longer than a token or charon needs.
PATIENCE = 60.0


class Worker:
    """What a consumer has its blocking calls done by.

    A module that never comes back costs one thread, which does not keep the hub from ending either:
    asyncio's own threads would.
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()

    async def do(self, work: Callable[[], object]) -> None:
        """Do `work`, and raise what it raises; FeedError when the call before has not come back,
        or when this one did not within PATIENCE seconds or cannot begin."""
        if not self._busy.acquire(blocking=False):
            raise FeedError("the call before has not come back yet")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        def run() -> None:
            error: BaseException | None = None
            try:
                work()
            except BaseException as caught:
                error = caught
            finally:
                self._busy.release()
            # The hub may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, error)

        try:
            threading.Thread(target=run, name="key feed", daemon=True).start()
        except RuntimeError:
            self._busy.release()
            raise FeedError("this machine lets the hub start no thread now") from None
        try:
            async with asyncio.timeout(PATIENCE):
                await done
        except TimeoutError:
            raise FeedError(f"the call did not come back within {PATIENCE:g} seconds") from None
