"""The responder of a lane, the hub with the higher hub_id: it answers, and repeats what it answered."""

from collections import OrderedDict
from typing import Any, NamedTuple

from handfast.core.errors import AuthenticationError, UnexpectedMessageError
from handfast.core.suites import SHA_256
from handfast_hub.trunk import messages
from handfast_hub.trunk.epochs import Epoch
from handfast_hub.trunk.lane import Lane
from handfast_hub.trunk.opening import Accepting, Party, gate_is_right
from handfast_hub.trunk.policy import DEFAULT_TIMING, Timing
from handfast_hub.trunk.rekeying import Rekeyed

# Openings with a right gate that are answered in a minute. Whoever replays recorded ones to a hub
# that was started anew costs it no more.
OPENINGS_A_MINUTE = 30
_REMEMBERED = 4096


class _Question(NamedTuple):
    """A key that the shell is fetching, for an OPEN or a REKEY."""

    ticket: int
    opens: bool
    raw: bytes
    fields: list[Any]


class _Openings:
    """Which OPEN messages came, so that a recorded one costs no second signature."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()
        self._times: list[float] = []

    def new(self, name: bytes, now: float) -> bool:
        """Whether the OPEN of this hash is new and within the rate; from now on it is not new."""
        if name in self._hashes:
            return False
        self._times = [at for at in self._times if now - at < 60.0]
        if len(self._times) >= OPENINGS_A_MINUTE:
            return False
        self._times.append(now)
        self._hashes[name] = None
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
        return True


class Responder(Lane):
    """The end that answers."""

    initiator = False

    def __init__(self, party: Party, now: float, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(party, now, timing)
        self._question: _Question | None = None
        self._openings = _Openings()
        # The newest OPEN and its answer; the CONFIRM that was taken; the newest REKEY's answer.
        self._open = b""
        self._accepting: Accepting | None = None
        self._confirm = b""
        self._rekeyed: Rekeyed | None = None
        self._pleaded = False

    def renew(self, reason: str, now: float) -> None:
        """Ask the initiator for a new epoch, once for each that is in use."""
        if self.current is not None and not self._pleaded:
            self._pleaded = True
            self.say(self.current, now, messages.PLEASE, reason)

    def promote(self, epoch: Epoch, now: float) -> None:
        """The initiator has proven `epoch`."""
        self._pleaded = False
        super().promote(epoch, now)

    def distrust(self) -> None:
        """No QKD key of before is trusted; an opening with one is given up."""
        super().distrust()
        self._accepting = None

    def supply(self, ticket: int, key_id: bytes | None, key: bytes | None, now: float, ways: int = 1) -> None:
        """Answer a KeyWanted; a later question has overtaken an older one. The ways are what the initiator
        said."""
        question = self._question
        if question is None or question.ticket != ticket:
            return
        self._question = None
        if self.tainted:
            # It was on its way when the alarm came.
            key = None
        answer = self._answer_open if question.opens else self._answer_rekey
        answer(question.raw, question.fields, key, now)

    def _ask(self, opens: bool, raw: bytes, fields: list[Any], key_id: bytes | None, now: float) -> None:
        if self.uses_qkd and key_id is not None:
            self._question = _Question(self.want_key(key_id), opens, raw, fields)
        elif opens:
            self._answer_open(raw, fields, None, now)
        else:
            self._answer_rekey(raw, fields, None, now)

    # Opening ----------------------------------------------------------------------------------

    def _offered(self, raw: bytes, fields: list[Any], now: float) -> None:
        if fields[0] != self.party.lane or not gate_is_right(self.party, fields):
            raise AuthenticationError
        name = self.party.crypto.hash(SHA_256, raw)
        if self._openings.new(name, now):
            self._ask(True, raw, fields, fields[4], now)
        elif raw == self._open and self._accepting is not None:
            self.put(self.opening + self._accepting.message)

    def _answer_open(self, raw: bytes, fields: list[Any], key: bytes | None, now: float) -> None:
        accepting = Accepting(self.party, raw, fields)
        self.highest = accepting.answer(self.number(), key)
        self._open, self._accepting = raw, accepting
        self.put(self.opening + accepting.message)

    def _confirmed(self, raw: bytes, fields: list[Any], now: float) -> None:
        if self._accepting is None:
            if raw != self._confirm or self.current is None:
                raise UnexpectedMessageError("a CONFIRM that nobody waits for")
            # Our SETTLED was lost.
            self.say(self.current, now, messages.SETTLED, self.current.number)
            return
        made = self._accepting.confirm(fields)
        self._accepting, self._confirm, self._rekeyed = None, raw, None
        self.authentic(now)
        epoch = self.epoch(made, now)
        self.promote(epoch, now)
        self.say(epoch, now, messages.SETTLED, epoch.number)

    # Rekeying ---------------------------------------------------------------------------------

    def _rekey_offered(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        if epoch is not self.current:
            raise UnexpectedMessageError("a REKEY comes under the epoch in use")
        number = fields[0]
        if self._rekeyed is not None and self._rekeyed.made.epoch == number:
            self.repeat(epoch, self._rekeyed.message, now)
        elif self._question is not None and not self._question.opens and self._question.raw == raw:
            # Resent, while the KME here is still being asked.
            return
        elif number <= self.highest:
            # Openings that came to nothing used up numbers that the initiator does not know of.
            self._refuse(epoch, number, "that epoch number is used up", now)
        else:
            self.highest = number
            self._ask(False, raw, fields, fields[1], now)

    def _answer_rekey(self, raw: bytes, fields: list[Any], key: bytes | None, now: float) -> None:
        epoch = self.current
        if epoch is None:
            return
        if fields[1] is not None and key is None:
            self._refuse(epoch, fields[0], "its KME does not have that key", now)
            return
        self._rekeyed = Rekeyed(self.party, raw, fields, key, epoch)
        self.next = self.epoch(self._rekeyed.made, now)
        self.repeat(epoch, self._rekeyed.message, now)

    def _refuse(self, epoch: Epoch, number: int, reason: str, now: float) -> None:
        self.say(epoch, now, messages.REFUSED, number, self.highest + 1, reason)

    def early(self, epoch: Epoch, now: float) -> None:
        """The initiator sends nothing under an epoch before it knows that its proof was taken."""
        raise UnexpectedMessageError("data under an epoch that its sender has not proven")

    def _proven(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        if epoch is self.next and self._rekeyed is not None:
            self._rekeyed.prove(fields)
            self._rekeyed = None
            self.promote(epoch, now)
        self.say(epoch, now, messages.SETTLED, epoch.number)

    openings = {messages.OPEN: _offered, messages.CONFIRM: _confirmed}
    controls = {
        messages.REKEY: _rekey_offered,
        messages.PROVEN: _proven,
        messages.ALARM: Lane.alarmed,
        messages.AHEAD: Lane.named_ahead,
    }
