"""The Entropy port of a board: drives a quantum source into the pool of the core."""

import asyncio
import os

from handfast.core.entropy import SECOND, SYSTEM, Pool
from handfast.core.errors import EntropyError, KeystoreError
from handfast_micropython.qrng_second import SecondSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.health_tests import Alarm
    from handfast.ports import Crypto, Keystore, QuantumSource

# The name of the stored state in the keystore.
STATE = "entropy"
# Bytes of one read: a chip tests them in some tens of milliseconds, and others work in between.
MAX_READ = 128


class Entropy:
    """Random bytes out of a tested quantum source, mixed with the chip's own.

    A health test in alarm stays in alarm until `restart`; a source that was only silent is tested
    from the start again by the next `prepare`. Neither gives a byte before it has passed.
    """

    def __init__(
        self,
        crypto: "Crypto",
        keystore: "Keystore",
        source: "QuantumSource",
        *,
        unique_id: bytes = b"",
        batch: int = 6,
        timeout: float = 5.0,
        second: "SecondSource | None" = None,
    ) -> None:
        """`batch`: draws that one write of the keystore reserves; `timeout`: seconds for one read of the
        source; `unique_id` names the board, at its first boot alone."""
        self._keystore = keystore
        self._source = source
        self._batch = batch
        self._timeout = timeout
        self._second = second or SecondSource()
        self._lock = asyncio.Lock()
        claim = int(source.min_entropy * 1000 + 0.5)
        self._pool = Pool(crypto, source.kind, source.model, claim, keystore.load(STATE), unique_id)

    @property
    def alarm(self) -> "Alarm | None":
        """Which health test is in alarm, at which sample; None when none is."""
        return self._pool.alarm

    async def prepare(self, draws: int) -> None:
        """Fetch and test enough for `draws` calls of `random`: they are the caller's until its next await.

        EntropyError when the source is in alarm, silent or gone; KeystoreError when the reservation
        could not be stored. Then nothing more can be drawn.
        """
        async with self._lock:
            if self._pool.available >= draws:
                return
            wanted = max(draws, self._batch)
            if self._pool.failed and self._pool.alarm is None:
                self._pool.restart()
            await self._gather(wanted)
            second = self._second.read(SECOND * (wanted + 1))
            state = self._pool.reserve(wanted, second, os.urandom(SYSTEM))
            self._keystore.save(STATE, state)
            self._pool.start_batch()
            # A port and its buffer are a kilobyte, and what waits in it would be thrown away.
            rest = getattr(self._source, "rest", None)
            if rest is not None:
                rest()

    def random(self, length: int) -> bytes:
        """`length` bytes; EntropyError when none were prepared or a health test is in alarm."""
        return self._pool.random(length, os.urandom(SYSTEM))

    def report(self) -> "list[object]":
        """Entry 2 of DEVINFO."""
        return self._pool.report(list(self._second.names) + ["os"])

    async def restart(self) -> None:
        """Somebody looked after the source: leave the alarm and begin with the start-up test."""
        async with self._lock:
            self._pool.restart()

    async def close(self) -> None:
        """Let go of the source; may be called twice."""
        await self._source.close()

    async def _gather(self, draws: int) -> None:
        try:
            while True:
                needed = self._pool.needed(draws)
                if not needed:
                    return
                self._pool.receive(await self._read(min(needed, MAX_READ)))
                await asyncio.sleep(0)
        except EntropyError:
            # The count of alarms should outlive the power; the alarm itself matters more.
            try:
                self._keystore.save(STATE, self._pool.state())
            except KeystoreError:
                pass
            raise

    async def _read(self, needed: int) -> bytes:
        try:
            raw = await asyncio.wait_for(self._source.read(needed), self._timeout)
        except asyncio.TimeoutError:
            reason = "was silent for %g seconds" % self._timeout
        except EntropyError as error:
            reason = "cannot be read: %s" % error.detail
        else:
            if 1 <= len(raw) <= needed:
                return raw
            reason = "gave %d bytes where 1 to %d were asked for" % (len(raw), needed)
        raise self._pool.fail(reason)
