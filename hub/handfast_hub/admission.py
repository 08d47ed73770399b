"""From message_3 to message_4: who is it, may it join, and its keys on the disk before the answer.

    look-up        the registry says what is known of the credential and of the token
    verification   in a worker: proof of the token, signature, policy, and the keys when it says yes
    transaction    reads again whatever could have changed, and writes everything or nothing

A device that the transaction turns away gets no answer at all: message_4 was made, and its key may
not seal a second one. The device tries again and is judged by what is true then.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from handfast.core import cbor, events, hub_session, topics
from handfast.core.constants import DEVINFO_ENTROPY
from handfast.core.credentials import Credential, decode_ccs, kid_in
from handfast.core.errors import Error
from handfast.core.responder import Responder
from handfast.core.token import Token
from handfast.ports import Crypto
from handfast_hub import policy
from handfast_hub.config import HubConfig
from handfast_hub.registry.decisions import Ask
from handfast_hub.registry.enrolment import Pended, Pending, Question, Refusal, Standing
from handfast_hub.registry.registry import Registry
from handfast_hub.workers import Workers

_LOG = structlog.get_logger("handfast.hub.admission")


class Applicant(NamedTuple):
    """Who asks to join: the machine, rank, randomness and the token, if any, of its session."""

    machine: Responder
    presented: "events.CredentialPresented"
    born: int
    random: Callable[[int], bytes]
    token: Token | None


class Outcome(NamedTuple):
    """How a handshake ended: for the metrics, what to send, and SHA-256 of the message_3 that it answers.

    `digest` is None when there is no message_4 that could be asked for again.
    """

    result: str
    frames: list[bytes]
    digest: bytes | None


# Hears an Outcome, or the exception in its place.
Done = Callable[[Outcome | None, Exception | None], None]


class _Judged(NamedTuple):
    """What the worker found: `established` when the verdict is yes."""

    verdict: policy.Verdict
    claim: "events.Authenticated"
    established: "events.Established | None"
    frames: list[bytes]


class Admission:
    """Decides about one message_3 after the other; one at a time for each device."""

    def __init__(
        self,
        config: HubConfig,
        registry: Registry,
        crypto: Crypto,
        workers: Workers,
        granted: Callable[[bytes], None],
    ) -> None:
        """`granted` hears the device_id of each new key that is on the disk."""
        self.config = config
        self.registry = registry
        self.crypto = crypto
        self.workers = workers
        self.granted = granted
        # By thumbprint: who is being decided about, and the decisions that wait for that.
        self._waiting: dict[bytes, list[_Decision]] = {}

    def decide(self, applicant: Applicant, done: Done) -> None:
        """Judge the device that wrote this message_3.

        `done(outcome, None)` hears on the loop how it ended, `done(None, error)` what nobody expected;
        it must not raise.
        """
        _Decision(self, applicant, done).begin()

    def take_turn(self, thumbprint: bytes, decision: "_Decision") -> bool:
        """Whether it is this decision's turn; else its `judge_again` is called when it is."""
        queue = self._waiting.get(thumbprint)
        if queue is None:
            self._waiting[thumbprint] = []
            return True
        queue.append(decision)
        return False

    def end_turn(self, thumbprint: bytes) -> None:
        """The next one about this device."""
        queue = self._waiting[thumbprint]
        if queue:
            queue.pop(0).judge_again()
        else:
            del self._waiting[thumbprint]


class _Decision:
    """One applicant on the way from message_3 to message_4.

    No task: a hub makes hundreds of decisions a second, and a task with its futures costs each of them
    four turns of the event loop. Whoever answers calls `_hear`, which goes on with `_step`.
    """

    __slots__ = (
        "_admission",
        "_applicant",
        "_credential",
        "_device_id",
        "_done",
        "_judged",
        "_standing",
        "_step",
    )

    def __init__(self, admission: Admission, applicant: Applicant, done: Done) -> None:
        self._admission = admission
        self._applicant = applicant
        self._done = done
        # Known from _judge on.
        self._credential: Credential | None = None
        self._step: Callable[[Any], None]

    def begin(self) -> None:
        """Ask the registry what is known of the applicant."""
        self._ask(self._looked_up, _question(self._applicant.presented))

    def judge_again(self) -> None:
        """Another handshake of this device has just ended: what was known of it may have changed."""
        assert self._credential is not None
        token_id = self._applicant.presented.token_id
        self._ask(self._judge, Question(self._credential.thumbprint, None, token_id, time.time()))

    def _ask(self, step: Callable[[Any], None], question: Question) -> None:
        self._step = step
        try:
            self._admission.registry.begin_admission(question, self._hear)
        except Exception as error:
            self._fail(error)

    def _hear(self, value: Any, error: Exception | None) -> None:
        """What the registry or a worker has found out, or why it could not."""
        try:
            if error is not None:
                raise error
            self._step(value)
        except Exception as failure:
            self._fail(failure)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Error):
            # The database could not do its work. Nothing was promised; the device tries again.
            _LOG.error("a handshake could not be finished", reason=error.detail)
            self._end(Outcome("failed", [], None))
        else:
            self._end(None, error)

    def _end(self, outcome: Outcome | None, error: Exception | None = None) -> None:
        self._done(outcome, error)
        if self._credential is not None:
            self._admission.end_turn(self._credential.thumbprint)

    def _looked_up(self, standing: Standing) -> None:
        credential = self._applicant.presented.credential
        if credential is None and standing.credential is not None:
            credential = decode_ccs(self._admission.crypto, standing.credential)
        if credential is None:
            machine = self._applicant.machine
            machine.refuse("nobody here has this credential")
            self._end(Outcome("unknown_credential", machine.frames_to_send(0.0), None))
            return
        self._credential = credential
        if self._admission.take_turn(credential.thumbprint, self):
            self._judge(standing)

    def _judge(self, standing: Standing) -> None:
        applicant, token, admission = self._applicant, self._applicant.token, self._admission
        token_id = applicant.presented.token_id
        if token is None or token.token_id != token_id:
            token = None if token_id is None else admission.registry.tokens.find(token_id)
        self._device_id = standing.device_id or applicant.random(topics.DEVICE_ID_LENGTH)
        self._step = self._verified
        admission.workers.submit(lambda: self._verify(token, standing), self._hear)

    def _verified(self, judged: _Judged | None) -> None:
        applicant, credential, registry = self._applicant, self._credential, self._admission.registry
        assert credential is not None
        if judged is None:
            self._end(Outcome("failed", applicant.machine.frames_to_send(0.0), None))
            return
        self._judged = judged
        if judged.established is not None:
            self._step = self._pended
            registry.begin_pend(self._pending(judged, judged.established, credential), self._hear)
        elif judged.verdict.status == policy.STATUS_WAITING:
            self._step = self._turned_away
            claim = judged.claim
            registry.begin_ask(Ask(credential, self._device_id, claim.devinfo, time.time()), self._hear)
        else:
            self._turned_away(None)

    def _turned_away(self, _: None) -> None:
        judged = self._judged
        result = "waiting" if judged.verdict.status == policy.STATUS_WAITING else "refused"
        _LOG.info("device not admitted", device=self._name(), result=result, reason=judged.verdict.reason)
        self._end(Outcome(result, judged.frames, judged.claim.digest))

    def _pended(self, outcome: Pended | Refusal) -> None:
        judged = self._judged
        if not isinstance(outcome, Pended):
            _LOG.info("device not admitted", device=self._name(), result="overtaken", reason=outcome.reason)
            self._end(Outcome("overtaken", [], None))
            return
        self._admission.granted(self._device_id)
        _LOG.debug("device admitted", device=self._name(), reason=judged.verdict.reason)
        self._end(Outcome("granted", judged.frames, judged.claim.digest))

    def _name(self) -> str:
        return "" if self._credential is None else self._credential.thumbprint[:4].hex()

    def _verify(self, token: Token | None, standing: Standing) -> _Judged | None:
        """In a worker. None when the signature is wrong: the machine has the error message."""
        machine, config = self._applicant.machine, self._admission.config
        assert self._credential is not None
        machine.accept(self._credential, token)
        claim = machine.next_event()
        if not isinstance(claim, events.Authenticated):
            return None
        verdict = policy.admit(
            config.policy,
            state=standing.state,
            token=standing.token,
            token_valid=claim.token_valid,
            source=None if config.policy.entropy == "any" else _source(claim.devinfo),
        )
        if verdict.status is not None:
            machine.deny(verdict.status, config.policy.retry_seconds)
            return _Judged(verdict, claim, None, machine.frames_to_send(0.0))
        machine.grant(self._device_id, standing.epoch)
        established = machine.next_event()
        if not isinstance(established, events.Established):
            return None
        return _Judged(verdict, claim, established, machine.frames_to_send(0.0))

    def _pending(
        self,
        judged: _Judged,
        established: "events.Established",
        credential: Credential,
    ) -> Pending:
        claim = judged.claim
        key = hub_session.pending_key(
            claim.attempt,
            self._applicant.born,
            established.suite,
            established.epoch,
            established.keys.traffic_secret,
        )
        return Pending(
            credential=credential,
            device_id=self._device_id,
            key=key,
            root_key=established.keys.root_key,
            have=claim.have,
            token_id=claim.token_id,
            c_r=claim.c_r,
            message_3_hash=claim.digest,
            message_4=judged.frames[0],
            devinfo=claim.devinfo,
            reason=judged.verdict.reason,
            now=time.time(),
        )


def _question(presented: "events.CredentialPresented") -> Question:
    credential, token_id = presented.credential, presented.token_id
    if credential is not None:
        return Question(credential.thumbprint, None, token_id, time.time())
    kid = kid_in(presented.id_cred)
    # A reference of another kind names nobody here: an empty thumbprint finds nobody.
    if kid is None or len(kid) != 8:
        return Question(b"", None, token_id, time.time())
    return Question(None, kid, token_id, time.time())


def _source(devinfo: bytes | None) -> list[object] | None:
    """Entry 2 of DEVINFO, which ead.py has found to be a map."""
    if devinfo is None:
        return None
    info = cbor.decode(devinfo)
    source = info.get(DEVINFO_ENTROPY) if isinstance(info, dict) else None
    return source if isinstance(source, list) else None
