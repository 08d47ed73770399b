"""The Entropy port of a CPython machine: drives a quantum source into the pool of the core."""

import asyncio
import contextlib
import os
import threading

from handfast.core.entropy import SECOND, SYSTEM, Pool
from handfast.core.errors import EntropyError, KeystoreError
from handfast.core.health_tests import Alarm
from handfast.ports import Crypto, Keystore, QuantumSource
from handfast_cpython.qrng_second import SecondSource

# The name of the stored state in the keystore.
STATE = "entropy"
# Bytes of one read: testing them keeps the event loop for about 0.3 ms.
MAX_READ = 4096


class Entropy:
    """Random bytes out of a tested quantum source, mixed with the machine's own.

    A health test in alarm stays in alarm until `restart`; a source that was only silent is tested
    from the start again by the next `prepare`. Neither gives a byte before it has passed. `random`
    may be called from any thread, also while `prepare` is at work.
    """

    def __init__(
        self,
        crypto: Crypto,
        keystore: Keystore,
        source: QuantumSource,
        *,
        unique_id: bytes = b"",
        batch: int = 16,
        timeout: float = 5.0,
        second: SecondSource | None = None,
    ) -> None:
        """`batch`: draws that one write of the keystore reserves; `timeout`: seconds for one read of the
        source; `unique_id` names the machine, at its first boot alone."""
        self._keystore = keystore
        self._source = source
        self._batch = batch
        self._timeout = timeout
        self._second = second or SecondSource(source.model)
        self._lock = asyncio.Lock()
        self._mutex = threading.Lock()
        claim = int(source.min_entropy * 1000 + 0.5)
        self._pool = Pool(crypto, source.kind, source.model, claim, keystore.load(STATE), unique_id)

    @property
    def alarm(self) -> Alarm | None:
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
            second = await asyncio.to_thread(self._second.read, SECOND * (wanted + 1))
            state = self._pool.reserve(wanted, second, os.urandom(SYSTEM))
            self._keystore.save(STATE, state)
            with self._mutex:
                self._pool.start_batch()

    def random(self, length: int) -> bytes:
        """`length` bytes; EntropyError when none were prepared or a health test is in alarm."""
        with self._mutex:
            return self._pool.random(length, os.urandom(SYSTEM))

    def report(self) -> list[object]:
        """Entry 2 of DEVINFO."""
        return self._pool.report([*self._second.names, "os"])

    async def restart(self) -> None:
        """Somebody looked after the source: leave the alarm and begin with the start-up test."""
        async with self._lock:
            with self._mutex:
                self._pool.restart()

    async def close(self) -> None:
        """Let go of the source; may be called twice."""
        await self._source.close()

    async def _gather(self, draws: int) -> None:
        try:
            while needed := self._pool.needed(draws):
                raw = await self._read(min(needed, MAX_READ))
                with self._mutex:
                    self._pool.receive(raw)
        except EntropyError:
            # The count of alarms should outlive the process; the alarm itself matters more.
            with contextlib.suppress(KeystoreError):
                self._keystore.save(STATE, self._pool.state())
            raise

    async def _read(self, needed: int) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                raw = await self._source.read(needed)
        except TimeoutError:
            reason = f"was silent for {self._timeout:g} seconds"
        except EntropyError as error:
            reason = f"cannot be read: {error.detail}"
        else:
            if 1 <= len(raw) <= needed:
                return raw
            reason = f"gave {len(raw)} bytes where 1 to {needed} were asked for"
        with self._mutex:
            raise self._pool.fail(reason)
