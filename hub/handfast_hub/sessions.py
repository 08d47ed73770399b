"""Handshakes: one Responder for each device that is joining, many at once.

The order of work is docs/protocol.md section 2.7. For message_1: size, GATE (one hash), memory of
what was seen, half-open limit, token bucket; only then the encapsulation and the signature, in a
worker. For message_3: size, live C_R, AEAD; admission.py goes on from there. A PUBLISH is
acknowledged when its work is done, so a hub that died gets it again.
"""

import asyncio
import os
from collections.abc import Callable
from functools import partial

import structlog

from handfast.core import events, messages, states
from handfast.core.constants import GATE_BY_TOKEN, MAX_MESSAGE_1, MAX_MESSAGE_3
from handfast.core.errors import DecodeError, Error, LinkError, PeerError
from handfast.core.responder import Responder
from handfast.core.suites import SHA_256
from handfast.core.token import Token
from handfast.ports import Clock, Crypto
from handfast_hub.admission import Admission, Applicant, Outcome
from handfast_hub.answers import Answers
from handfast_hub.config import HubConfig
from handfast_hub.limits import EarlyDrop, Memory, TokenBucket
from handfast_hub.metrics import METRICS
from handfast_hub.randomness import Portions
from handfast_hub.registry.registry import Registry
from handfast_hub.registry.traffic import Answer
from handfast_hub.workers import Workers

_LOG = structlog.get_logger("handfast.hub.sessions")


class Session:
    """One device that is joining. `busy` while a worker or the database has it."""

    __slots__ = (
        "born",
        "busy",
        "by_token",
        "digest",
        "frame",
        "machine",
        "random",
        "reply",
        "started",
        "token",
    )

    def __init__(
        self,
        machine: Responder,
        random: Portions,
        by_token: bool,
        token: Token | None,
        reply: str,
        born: int,
        digest: bytes,
        started: float,
    ) -> None:
        """`reply` is the topic of its answers, which names its chan; `by_token` whether a token passed its
        GATE, `token` that one if it is at hand."""
        self.machine = machine
        self.random = random
        self.by_token = by_token
        self.token = token
        self.reply = reply
        self.born = born
        self.digest = digest
        self.started = started
        self.frame = b""
        self.busy = True


class Sessions:
    """Everything between message_1 and message_4."""

    def __init__(
        self,
        config: HubConfig,
        registry: Registry,
        crypto: Crypto,
        random: Callable[[int], bytes],
        clock: Clock,
        workers: Workers,
        publish: Callable[[str, bytes], None],
        granted: Callable[[bytes], None],
        born: int,
    ) -> None:
        """`born` is the first number that this process may give; `publish` raises LinkError; `granted`
        hears the device_id of each new key that is on the disk."""
        self._config = config
        self._registry = registry
        self._crypto = crypto
        self._random = random
        self._clock = clock
        self._workers = workers
        self._publish = publish
        self._born = born
        self._admission = Admission(config, registry, crypto, workers, granted)
        now = clock.now()
        self._signing = TokenBucket(config.limits.signatures_per_second, now)
        self._verifying = TokenBucket(config.limits.verifications_per_second, now)
        # The system's bytes: those of the tested source are few, and strangers shall not use them up.
        self._early = EarlyDrop(config.limits.half_open, lambda: int.from_bytes(os.urandom(3), "big") / 2**24)
        self._memory = Memory()
        # message_1 whose message_2 is being made, and then sessions by C_R, oldest first. Nobody can
        # guess a C_R before message_2.
        self._making = 0
        self._open: dict[bytes, Session] = {}
        self._answers = Answers(config.limits.session_seconds)
        # How many message_3 are being decided about.
        self._deciding = 0
        self._none_deciding = asyncio.Event()
        self._closed = False

    @property
    def half_open(self) -> int:
        """Handshakes under way."""
        return self._making + len(self._open)

    def recall(self, answers: list[Answer]) -> None:
        """Take over the answers that an earlier process of this hub has committed."""
        self._answers.recall(answers, self._clock.now())

    def receive(self, reply: str, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """One payload of a joining device, to be answered on `reply`; never raises, whatever it is.

        After `close` it is left to the next process.
        """
        if self._closed:
            return
        under_way = False
        try:
            frame = messages.decode_frame(payload)
            if frame.message is None:
                # An error message: anybody could have written it, so it ends nothing.
                self._drop("error_message")
            elif frame.c_x is None:
                under_way = self._message_1(reply, frame, acknowledge)
            else:
                under_way = self._message_3(reply, frame, acknowledge)
        except PeerError:
            self._drop("decode")
        if not under_way:
            acknowledge()

    def expire(self) -> None:
        """Forget what is older than the life of a session; call it every second or so."""
        now = self._clock.now()
        limit = now - self._config.limits.session_seconds
        for c_r, session in list(self._open.items()):
            if session.started > limit:
                break
            if not session.busy:
                del self._open[c_r]
                METRICS.ended("expired")
        self._answers.expire(now)
        METRICS.half_open.set(self.half_open)

    async def close(self) -> None:
        """Take nothing more, and finish what is under way."""
        self._closed = True
        await self.settle()

    async def settle(self) -> None:
        """Wait for what is under way."""
        while self._making:
            # A worker takes jobs in order: what it does for us comes after what it does for them.
            await self._workers.run(lambda: None)
        while self._deciding:
            self._none_deciding.clear()
            await self._none_deciding.wait()

    # message_1 --------------------------------------------------------------------------------

    def _message_1(self, reply: str, frame: "messages.Frame", acknowledge: Callable[[], None]) -> bool:
        """Whether a worker has it now; else it is done with."""
        if len(frame.message) > MAX_MESSAGE_1:
            raise DecodeError("message_1 is too large")
        now = self._clock.now()
        random = Portions(self._random)
        machine = Responder(self._crypto, random, self._registry.identity, self._config.suites)
        machine.receive_frame(frame, now)
        gate = machine.next_event()
        if not isinstance(gate, events.GatePresented):
            raise DecodeError("message_1 carries a GATE")
        known = self._memory.find(gate.digest, now)
        if known is not None:
            # Only bytes that passed the gate are in the memory; they cost a hash and no more.
            self._again(known, reply)
            return False
        by_token = gate.kind == GATE_BY_TOKEN
        key, token = self._gate_key(gate)
        if key is None:
            self._drop("gate")
            return False
        try:
            machine.pass_gate(key)
        except PeerError:
            self._drop("gate")
            self._send(reply, machine.frames_to_send(now))
            return False
        if not self._early.admits(self.half_open, by_token) or not self._signing.take(now, by_token):
            # Not remembered: the device's own resend gets another chance.
            self._drop("load")
            return False
        self._born += 1
        session = Session(machine, random, by_token, token, reply, self._born, gate.digest, now)
        self._memory.remember(gate.digest, b"", now)
        self._making += 1

        def made(_: None, error: Exception | None) -> None:
            self._making -= 1
            try:
                # A PeerError says that G_X is no key, and so does the error message that is ready then.
                if error is not None and not isinstance(error, PeerError):
                    raise error
                self._answer_1(session)
            except Exception as failure:
                self._failed(failure)
            finally:
                acknowledge()

        self._workers.submit(lambda: machine.answer(now), made)
        return True

    def _gate_key(self, gate: "events.GatePresented") -> tuple[bytes | None, Token | None]:
        if gate.kind == GATE_BY_TOKEN:
            return self._registry.tokens.gate_key(gate.token_id)
        return self._registry.hub_id, None

    def _again(self, c_r: bytes, reply: str) -> None:
        """The same message_1: the same message_2 on the same chan while the session lives, else silence."""
        session = self._open.get(c_r)
        if session is not None and session.reply == reply:
            self._send(reply, [session.frame])
        else:
            self._drop("repeated")

    def _answer_1(self, session: Session) -> None:
        machine = session.machine
        frames = machine.frames_to_send(session.started)
        if machine.state == states.WAIT_MESSAGE_3:
            session.frame = frames[0]
            session.busy = False
            self._open[machine.c_r] = session
            self._memory.remember(session.digest, machine.c_r, session.started)
        self._send(session.reply, frames)

    # message_3 --------------------------------------------------------------------------------

    def _message_3(self, reply: str, frame: "messages.Frame", acknowledge: Callable[[], None]) -> bool:
        """Whether a decision is under way; else it is done with."""
        if len(frame.message) > MAX_MESSAGE_3:
            raise DecodeError("message_3 is too large")
        now = self._clock.now()
        if frame.c_x in self._answers:
            # On another chan it is dropped unhashed (docs/protocol.md section 2.3).
            if not self._answers.is_for(frame.c_x, reply):
                self._drop("other_chan")
                return False
            answer = self._answers.give(frame.c_x, reply, self._crypto.hash(SHA_256, frame.message))
            self._send(reply, [] if answer is None else [answer])
            return False
        session = self._open.get(frame.c_x)
        if session is None or session.busy or session.reply != reply:
            self._drop("unknown_session")
            return False
        if not self._verifying.take(now, session.by_token):
            self._drop("load")
            return False
        try:
            session.machine.receive_frame(frame, now)
        except PeerError:
            self._drop("message_3")
            if session.machine.state in states.FINAL:
                self._end(session, "failed")
            return False
        presented = session.machine.next_event()
        if not isinstance(presented, events.CredentialPresented):
            return False
        session.busy = True
        self._deciding += 1
        applicant = Applicant(session.machine, presented, session.born, session.random, session.token)
        self._admission.decide(applicant, partial(self._decided, session, acknowledge))
        return True

    def _decided(
        self,
        session: Session,
        acknowledge: Callable[[], None],
        outcome: Outcome | None,
        error: Exception | None,
    ) -> None:
        try:
            if outcome is not None:
                self._answer_3(session, outcome)
            else:
                self._end(session, "failed")
                if error is not None:
                    raise error
        except Exception as failure:
            self._failed(failure)
        finally:
            self._deciding -= 1
            if not self._deciding:
                self._none_deciding.set()
            acknowledge()

    def _answer_3(self, session: Session, outcome: Outcome) -> None:
        if outcome.digest is not None and outcome.frames:
            now = self._clock.now()
            self._answers.keep(session.machine.c_r, session.reply, outcome.digest, outcome.frames[0], now)
            METRICS.seconds.observe(now - session.started)
        self._open.pop(session.machine.c_r, None)
        METRICS.ended(outcome.result)
        self._send(session.reply, outcome.frames)

    # Everything else --------------------------------------------------------------------------

    def _end(self, session: Session, result: str) -> None:
        self._open.pop(session.machine.c_r, None)
        METRICS.ended(result)
        self._send(session.reply, session.machine.frames_to_send(self._clock.now()))

    def _failed(self, error: Exception) -> None:
        self._drop("failed")
        if isinstance(error, Error):
            _LOG.error("a handshake could not be finished", reason=error.detail)
        else:
            _LOG.error("a handshake made the hub fail", exc_info=error)

    def _drop(self, reason: str) -> None:
        METRICS.drops.labels(reason).inc()

    def _send(self, reply: str, frames: list[bytes]) -> None:
        for frame in frames:
            try:
                self._publish(reply, frame)
            except LinkError:
                # The device asks again, and then there is an answer in a cache or in the registry.
                self._drop("broker_away")
