"""The Python of one handshake at the hub: a Responder whose Crypto port answers at once.

    python tests/bench/responder.py [--rounds N]

The answers were recorded from real libraries, so every byte is what a hub sees; the last message is
compared each time. The best round is what the code costs when the caches hold it. The mean after a
signature of ML-DSA, which leaves little in them, is nearer to what it costs in a hub.
"""

import argparse
import hashlib
import os
import time
from typing import Any

from bytecodes import Count
from device_process import DEVINFO

from handfast.core.credentials import Identity, make_ccs
from handfast.core.ead import gate_key
from handfast.core.initiator import Initiator
from handfast.core.responder import Responder
from handfast.core.suites import ML_DSA_65
from handfast.core.token import Token
from handfast_cpython.crypto import Crypto

PARTS = ("message_1", "message_2", "message_3", "message_4")
CALLS = ("hash", "hmac", "kmac256", "equal", "xor", "seal", "open", "encapsulate", "sign", "verify")


class Recording:
    """A Crypto port that keeps what it answered."""

    def __init__(self, crypto: Crypto) -> None:
        self.answers: list[Any] = []
        for name in CALLS:
            setattr(self, name, self._recording(getattr(crypto, name)))

    def _recording(self, method: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.answers.append(method(*arguments))
            return self.answers[-1]

        return call


class Replaying:
    """A Crypto port that gives the recorded answers, in their order, whatever it is asked."""

    def __init__(self, answers: list[Any]) -> None:
        following = iter(answers).__next__
        for name in CALLS:
            setattr(self, name, lambda *_: following())


class Handshake:
    """One recorded handshake that can be run again."""

    def __init__(self) -> None:
        self.crypto = crypto = Crypto("pycryptodome")
        self.hub = self._identity("hub")
        self._token = Token(os.urandom(8), os.urandom(32), False)
        self._gate_key = gate_key(crypto, b"", self._token)
        hub_id = self.hub.credential.thumbprint
        device = Initiator(
            crypto, os.urandom, self._identity("device 1"), hub_id, token=self._token, devinfo=DEVINFO
        )
        device.start(0.0)
        (self._message_1,) = device.frames_to_send(0.0)
        recording = Recording(crypto)
        self._answers = recording.answers
        hub = Responder(recording, self._random(), self.hub)  # type: ignore[arg-type]
        device.receive(self._answered_1(hub), 0.0)
        presented: Any = device.next_event()
        device.accept(presented.credential, 0.0)
        (self._message_3,) = device.frames_to_send(0.0)
        self._message_4 = self._answered_3(hub, [])

    def run(self) -> list[float]:
        """Once more; the moments at which each part began and the last one ended."""
        crypto, random = Replaying(self._answers), self._random()
        moments = [time.perf_counter()]
        hub = Responder(crypto, random, self.hub)  # type: ignore[arg-type]
        self._answered_1(hub, moments)
        message_4 = self._answered_3(hub, moments)
        assert message_4 == self._message_4
        return moments

    def _answered_1(self, hub: Responder, moments: "list[float] | None" = None) -> bytes:
        moments = [] if moments is None else moments
        hub.receive(self._message_1, 0.0)
        hub.next_event()
        hub.pass_gate(self._gate_key)
        moments.append(time.perf_counter())
        hub.answer(0.0)
        (message_2,) = hub.frames_to_send(0.0)
        moments.append(time.perf_counter())
        return message_2

    def _answered_3(self, hub: Responder, moments: "list[float]") -> bytes:
        hub.receive(self._message_3, 0.0)
        presented: Any = hub.next_event()
        moments.append(time.perf_counter())
        hub.accept(presented.credential, self._token)
        hub.next_event()
        hub.grant(b"device 1", 0)
        hub.next_event()
        (message_4,) = hub.frames_to_send(0.0)
        moments.append(time.perf_counter())
        return message_4

    def _identity(self, name: str) -> Identity:
        seed = os.urandom(32)
        public_key = self.crypto.signature_public_key(ML_DSA_65, seed)
        return Identity(seed, make_ccs(self.crypto, name, ML_DSA_65, public_key))

    def _random(self) -> Any:
        """The same bytes in every run."""
        stream = hashlib.shake_256(b"responder").digest(1024)
        at = 0

        def random(length: int) -> bytes:
            nonlocal at
            at += length
            return stream[at - length : at]

        return random


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    rounds: int = parser.parse_args().rounds
    handshake = Handshake()
    runs = [handshake.run() for _ in range(rounds)]
    for number, part in enumerate(PARTS):
        best = min(run[number + 1] - run[number] for run in runs)
        print(f"{best * 1e6:8.1f} us  {part}")
    print(f"{min(run[-1] - run[0] for run in runs) * 1e6:8.1f} us  the best handshake")
    spent = 0.0
    for _ in range(rounds // 10):
        handshake.crypto.sign(ML_DSA_65, handshake.hub.seed, bytes(4096), os.urandom(32))
        began = time.thread_time()
        handshake.run()
        spent += time.thread_time() - began
    print(f"{spent / (rounds // 10) * 1e6:8.1f} us  on average after a signature")
    count = Count()
    handshake.run()
    count.stop()
    print(f"{sum(sum(functions.values()) for functions in count.take().values()):8d}     bytecodes")


if __name__ == "__main__":
    main()
