"""The initiator of a lane, the hub with the lower hub_id: it opens, it rekeys, it repeats.

It asks its KME for a key, names the key_ID to the other end, and goes on in the epoch in use until
the other end has answered under the new one. An attempt that is not answered is given up; its key
is never offered again.
"""

from typing import Any, NamedTuple

from handfast.core.errors import PeerError, UnexpectedMessageError
from handfast_hub.trunk import messages
from handfast_hub.trunk.epochs import Epoch
from handfast_hub.trunk.events import Failed
from handfast_hub.trunk.lane import Lane, is_opening
from handfast_hub.trunk.opening import Opening, Party
from handfast_hub.trunk.policy import DEFAULT_TIMING, Timing
from handfast_hub.trunk.rekeying import Rekeying

# A message is resent after these seconds, the last of them again and again, until it is given up.
RESEND = (0.5, 1.0, 2.0, 4.0)
GIVE_UP = 15.0
# The shell has this long to bring a key; later it is too late.
KEY_PATIENCE = 15.0


class _Asked(NamedTuple):
    """A key that the shell is fetching. `opens`: for a first epoch, not for a next one."""

    ticket: int
    opens: bool
    until: float


class _Pending:
    """A message that waits for its answer. `work` is None once only a record can answer it."""

    def __init__(self, work: Opening | Rekeying | None, message: bytes, now: float) -> None:
        self.work = work
        self.message = message
        self.tries = 0
        self.due = self.sent_at = now
        self.ends = now + GIVE_UP


class Initiator(Lane):
    """The end that begins."""

    initiator = True

    def __init__(self, party: Party, now: float, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(party, now, timing)
        self._asked: _Asked | None = None
        self._pending: _Pending | None = None
        # When the next attempt begins, unless one is under way.
        self._due = now
        self._signed_at = now
        # Over how many ways a key was last asked for.
        self._wanted_ways = party.secret_ways
        # The KME of the other end lacks the keys that ours gives: the next attempt goes without one.
        self._without = False

    def renew(self, reason: str, now: float) -> None:
        """Begin a new epoch now, unless one is being made."""
        self._due = min(self._due, now)

    def supply(self, ticket: int, key_id: bytes | None, key: bytes | None, now: float, ways: int = 1) -> None:
        """Answer a KeyWanted; a late answer is ignored, and its key is lost."""
        if self._asked is None or self._asked.ticket != ticket:
            return
        opens, self._asked = self._asked.opens, None
        if self.tainted:
            # It was on its way when the alarm came.
            key = None
        # While the key was fetched the other hub may have fallen silent.
        self._begin(opens or self.silent, key_id if key is not None else None, key, now, ways)

    def timer(self) -> float:
        """When to call `handle_timer`."""
        if self._pending is not None:
            own = min(self._pending.due, self._pending.ends)
        else:
            own = self._asked.until if self._asked is not None else self._due
        return min(own, super().timer())

    def new_way(self, now: float) -> None:
        """Repeat what waits for an answer, but no sooner than ever: a stranger may have made the carrier."""
        if self._pending is not None:
            self._pending.due = min(self._pending.due, self._pending.sent_at + RESEND[0])

    def handle_timer(self, now: float) -> None:
        """Begin, resend or give up, and what both ends do."""
        heard = not self.silent
        super().handle_timer(now)
        if heard and self.silent:
            if self._pending is not None and not is_opening(self._pending.message):
                # A hub that was killed has no epoch to be asked in; it can only be opened to.
                self._give_up("the other hub fell silent", now)
            self._due = now
        if self._asked is not None and now >= self._asked.until:
            self.supply(self._asked.ticket, None, None, now)
        if self._pending is not None:
            if now >= self._pending.ends:
                self._give_up("the other hub did not answer", now)
            elif now >= self._pending.due:
                self._send_pending(self._pending, now)
        elif self._asked is None and now >= self._due:
            # An end that hears nothing may face a hub that was killed and has no epoch any more.
            opens = self.current is None or self.silent or now - self._signed_at >= self.timing.signed
            if self.uses_qkd and not self._without:
                self._ask(opens, now)
            else:
                self._begin(opens, None, None, now)

    def _ask(self, opens: bool, now: float) -> None:
        ways, epoch = self.secret_ways, self.current
        # While `secret` may travel a key of fewer ways would only end that. An opening cannot be put off, and
        # is better with such a key than with none.
        kept = not opens and epoch is not None and epoch.sound and self._can_wait(epoch, now)
        least = ways if kept else 1
        self._wanted_ways = ways
        self._asked = _Asked(self.want_key(None, ways, least), opens, now + KEY_PATIENCE)

    def more_ways(self, now: float) -> None:
        """A QKD key over more ways than that in use may be had again."""
        if self.current is not None and self.current.hybrid and self.current.ways < self.current.needed:
            self.renew("ways", now)

    def _begin(self, opens: bool, key_id: bytes | None, key: bytes | None, now: float, ways: int = 1) -> None:
        # Should there be no randomness for it, the next attempt is not at once.
        self._due = now + self.timing.retry
        epoch = self.current
        if opens or epoch is None:
            work: Opening | Rekeying = Opening(self.party, self.number(), key_id, key, ways)
            message = self.opening + work.message
        elif self.uses_qkd and key is None and self._can_wait(epoch, now):
            return
        else:
            work = Rekeying(self.party, self.number(), key_id, key, ways, epoch)
            message = work.message
        self._pending = _Pending(work, message, now)
        self._send_pending(self._pending, now)

    def _can_wait(self, epoch: Epoch, now: float) -> bool:
        """Without a QKD key: whether the epoch in use is better than a new one of ML-KEM alone."""
        if epoch.suspect:
            return False
        return now - epoch.born < (self.timing.fresh if epoch.hybrid else self.timing.rekey)

    def _send_pending(self, pending: _Pending, now: float) -> None:
        pending.due = now + RESEND[min(pending.tries, len(RESEND) - 1)]
        pending.tries += 1
        pending.sent_at = now
        if is_opening(pending.message):
            self.put(pending.message)
        elif pending.work is not None and self.current is not None:
            self.repeat(self.current, pending.message, now)
        elif self.next is not None:
            self.repeat(self.next, pending.message, now)

    def _give_up(self, reason: str, now: float) -> None:
        self._pending, self.next = None, None
        self._due = now + self.timing.retry
        self.tell(Failed(reason))

    # What the other end says ------------------------------------------------------------------

    def _accepted(self, raw: bytes, fields: list[Any], now: float) -> None:
        if self._pending is None or not isinstance(self._pending.work, Opening):
            raise UnexpectedMessageError("an ACCEPT that nobody waits for")
        made, confirm = self._pending.work.accept(fields)
        self.highest, self._signed_at = max(self.highest, made.epoch), now
        self._prove(made, self.opening + confirm, now)

    def _rekeyed(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        if self._pending is None or not isinstance(self._pending.work, Rekeying):
            return
        try:
            made, proven = self._pending.work.answer(fields)
        except PeerError:
            # It came from the peer, whose KME gave it another key. The same key_ID cannot mend that.
            self._give_up("the two ends derived different keys", now)
            return
        self._prove(made, proven, now)

    def _prove(self, made: Any, message: bytes, now: float) -> None:
        self.next = self.epoch(made, now)
        self._pending = _Pending(None, message, now)
        self._send_pending(self._pending, now)

    def _settled(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        if epoch is self.next:
            self.early(epoch, now)

    def early(self, epoch: Epoch, now: float) -> None:
        """The responder speaks under the new epoch, so it has taken our proof."""
        self._pending, self._without = None, False
        self.promote(epoch, now)
        pause = self.timing.rekey if epoch.hybrid or not self.uses_qkd else self.timing.retry
        # It is suspect when the responder, who was already in it, has raised an alarm. And it was he who told
        # us, in opening, that `secret` needs more ways than were asked for.
        told_more = epoch.hybrid and self._wanted_ways < epoch.needed
        self._due = now if epoch.suspect or told_more else now + pause

    def _refused(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        work = self._pending.work if self._pending is not None else None
        number, lowest, reason = fields
        if isinstance(work, Rekeying) and work.epoch == number:
            self.highest = max(self.highest, lowest - 1)
            self._without = self.current is not None and not self._can_wait(self.current, now)
            self._give_up(f"the other hub refused the new epoch: {reason}", now)

    def _please(self, epoch: Epoch, raw: bytes, fields: list[Any], now: float) -> None:
        self.renew(fields[0], now)

    openings = {messages.ACCEPT: _accepted}
    controls = {
        messages.REKEYED: _rekeyed,
        messages.SETTLED: _settled,
        messages.REFUSED: _refused,
        messages.PLEASE: _please,
        messages.ALARM: Lane.alarmed,
        messages.AHEAD: Lane.named_ahead,
    }
