"""Records sealed and opened by the hub's functions, beside the bare AEAD with the same bytes.

    python tests/bench/records_process.py BACK_END < requests

No broker and no database: seal_record and open_record with their windows and counters, as the hub
calls them. The bare AEAD is one object of AES-256-CCM, made once.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from child import Answer, serve
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from handfast.core import constants, hub_session, topics
from handfast.core.hub_session import Ring
from handfast.core.key_cache import KeyCache
from handfast_cpython.crypto import Crypto

SUITE = -21


class Records:
    """What the parent may ask for."""

    def __init__(self, back_end: str) -> None:
        self._keys = KeyCache(Crypto(back_end))
        secret, attempt, device_id = os.urandom(64), os.urandom(16), os.urandom(8)
        key = hub_session.pending_key(attempt, 1, SUITE, 0, secret)
        ring = hub_session.add_pending(hub_session.empty(device_id), key, None)
        self._ring = hub_session.promote(ring, attempt)
        self._device_id = device_id
        self._aead = AESCCM(os.urandom(32), 16)

    def run(self, count: int, size: int) -> Answer:
        """CPU seconds for `count` records of `size` bytes: sealed, opened, and both by the bare AEAD."""
        nonce, aad, plaintext = os.urandom(13), os.urandom(48), os.urandom(size)
        ciphertext = self._aead.encrypt(nonce, plaintext, aad)
        active = self._ring.active
        assert active is not None
        sender = self._keys.get(self._device_id, active, 0, constants.SENDER_DEVICE)
        # A device's records, which the hub is going to open.
        records = [sender.seal(piv, topics.TELEMETRY, plaintext) for piv in range(count)]
        return {
            "sealed": _timed(self._seal(plaintext), records),
            "opened": _timed(self._open(), records),
            "bare_sealed": _timed(lambda _: self._aead.encrypt(nonce, plaintext, aad), records),
            "bare_opened": _timed(lambda _: self._aead.decrypt(nonce, ciphertext, aad), records),
        }

    def _seal(self, plaintext: bytes) -> Callable[[Any], None]:
        ring = self._ring

        def seal(_: object) -> None:
            nonlocal ring
            ring = hub_session.seal_record(self._keys, ring, topics.BULK, plaintext).ring

        return seal

    def _open(self) -> Callable[[bytes], None]:
        ring: Ring = self._ring

        def open_next(record: bytes) -> None:
            nonlocal ring
            ring = hub_session.open_record(self._keys, ring, topics.TELEMETRY, record, 0.0).ring

        return open_next


def _timed(call: Callable[[Any], object], items: list[Any]) -> float:
    began = time.thread_time()
    for item in items:
        call(item)
    return time.thread_time() - began


if __name__ == "__main__":
    serve({"run": Records(sys.argv[1]).run})
