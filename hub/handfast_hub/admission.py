"""From message_3 to message_4: who is it, may it join, and its keys on the disk before the answer.

    look-up        the registry says what is known of the credential and of the token
    verification   in a worker: proof of the token, signature, policy, and the keys when it says yes
    transaction    reads again whatever could have changed, and writes everything or nothing

A device that the transaction turns away gets no answer at all: message_4 was made, and its key may
not seal a second one. The device tries again and is judged by what is true then.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from handfast.core import cbor, events, hub_session, topics
from handfast.core.codes import Token
from handfast.core.constants import DEVINFO_ENTROPY
from handfast.core.credentials import Credential, decode_ccs, kid_in
from handfast.core.errors import Error
from handfast.core.responder import Responder
from handfast.ports import Crypto
from handfast_hub import policy
from handfast_hub.config import HubConfig
from handfast_hub.registry.decisions import Ask
from handfast_hub.registry.enrolment import Pended, Pending, Question, Standing
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
        self._config = config
        self._registry = registry
        self._crypto = crypto
        self._workers = workers
        self._granted = granted
        # By thumbprint: who is being decided about, and how many more handshakes of it wait.
        self._locks: dict[bytes, tuple[asyncio.Lock, int]] = {}

    async def decide(self, applicant: Applicant) -> Outcome:
        """Judge the device that wrote this message_3; raises nothing of ours."""
        machine, presented = applicant.machine, applicant.presented
        try:
            standing = await self._registry.admission(_question(presented))
            credential = presented.credential
            if credential is None and standing.credential is not None:
                credential = decode_ccs(self._crypto, standing.credential)
            if credential is None:
                machine.refuse("nobody here has this credential")
                return Outcome("unknown_credential", machine.frames_to_send(0.0), None)
            return await self._one_at_a_time(applicant, credential, standing)
        except Error as error:
            # The database could not do its work. Nothing was promised; the device tries again.
            _LOG.error("a handshake could not be finished", reason=error.detail)
            return Outcome("failed", [], None)

    async def _one_at_a_time(
        self, applicant: Applicant, credential: Credential, standing: Standing
    ) -> Outcome:
        thumbprint = credential.thumbprint
        lock, waiting = self._locks.get(thumbprint, (asyncio.Lock(), 0))
        self._locks[thumbprint] = (lock, waiting + 1)
        try:
            async with lock:
                if waiting:
                    standing = await self._registry.admission(
                        Question(thumbprint, None, applicant.presented.token_id, time.time())
                    )
                return await self._judge(applicant, credential, standing)
        finally:
            lock, waiting = self._locks[thumbprint]
            if waiting == 1:
                del self._locks[thumbprint]
            else:
                self._locks[thumbprint] = (lock, waiting - 1)

    async def _judge(self, applicant: Applicant, credential: Credential, standing: Standing) -> Outcome:
        machine, token, token_id = applicant.machine, applicant.token, applicant.presented.token_id
        if token is None or token.token_id != token_id:
            token = None if token_id is None else self._registry.tokens.find(token_id)
        device_id = standing.device_id or applicant.random(topics.DEVICE_ID_LENGTH)
        judged = await self._workers.run(
            lambda: self._verify(machine, credential, token, standing, device_id)
        )
        if judged is None:
            return Outcome("failed", machine.frames_to_send(0.0), None)
        verdict, claim = judged.verdict, judged.claim
        name = credential.thumbprint[:4].hex()
        if judged.established is None:
            result = "refused"
            if verdict.status == policy.STATUS_WAITING:
                result = "waiting"
                await self._registry.ask(Ask(credential, device_id, claim.devinfo, time.time()))
            _LOG.info("device not admitted", device=name, result=result, reason=verdict.reason)
            return Outcome(result, judged.frames, claim.digest)
        outcome = await self._registry.pend(
            self._pending(judged, judged.established, credential, device_id, applicant.born)
        )
        if not isinstance(outcome, Pended):
            _LOG.info("device not admitted", device=name, result="overtaken", reason=outcome.reason)
            return Outcome("overtaken", [], None)
        self._granted(device_id)
        _LOG.debug("device admitted", device=name, reason=verdict.reason)
        return Outcome("granted", judged.frames, claim.digest)

    def _verify(
        self,
        machine: Responder,
        credential: Credential,
        token: Token | None,
        standing: Standing,
        device_id: bytes,
    ) -> _Judged | None:
        """In a worker. None when the signature is wrong: the machine has the error message."""
        machine.accept(credential, token)
        claim = machine.next_event()
        if not isinstance(claim, events.Authenticated):
            return None
        verdict = policy.admit(
            self._config.policy,
            state=standing.state,
            token=standing.token,
            token_valid=claim.token_valid,
            source=None if self._config.policy.entropy == "any" else _source(claim.devinfo),
        )
        if verdict.status is not None:
            machine.deny(verdict.status, self._config.policy.retry_seconds)
            return _Judged(verdict, claim, None, machine.frames_to_send(0.0))
        machine.grant(device_id, standing.epoch)
        established = machine.next_event()
        if not isinstance(established, events.Established):
            return None
        return _Judged(verdict, claim, established, machine.frames_to_send(0.0))

    def _pending(
        self,
        judged: _Judged,
        established: "events.Established",
        credential: Credential,
        device_id: bytes,
        born: int,
    ) -> Pending:
        claim = judged.claim
        key = hub_session.pending_key(
            claim.attempt, born, established.suite, established.epoch, established.keys.traffic_secret
        )
        return Pending(
            credential=credential,
            device_id=device_id,
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
