"""Bidirectional Forwarding Detection (RFC 5880), asynchronous mode, sans-IO: does this carrier still carry?

    session.receive(packet, now)   feed one control packet; PeerError when RFC 5880 discards it
    session.next_event()           Changed, or None
    session.packet_to_send(now)    the control packet that must leave now, or None; ask until None
    session.timer()                when to call `handle_timer`
    session.handle_timer(now)      a packet is due, or the Detection Time has passed

Both ends take the active role; neither sends echo packets nor asks for demand mode, but a peer that
asks for it is obeyed. Packets travel inside records of the trunk, which authenticate them (bfd_packet.py).
Feed what has arrived before `handle_timer`, or a busy machine takes its own delay for a silent peer.

`now` is in seconds of a clock that never goes back; intervals are in microseconds, as on the wire.
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass
from math import inf

from handfast.core.errors import LocalError, UnexpectedMessageError
from handfast_hub.trunk.bfd_packet import ControlPacket, Diagnostic, State, decode_packet

# How often, and how many in a row may be missing: 900 ms without a packet are a dead path.
INTERVAL = 300_000
MULTIPLIER = 3
# Section 6.8.3: while the session is not Up, no faster than this.
SLOW = 1_000_000

_LARGEST = 2**32 - 1
_MICRO = 1e-6

# Section 6.8.6, by what the neighbor says and by bfd.SessionState; what is not here changes nothing.
_TRANSITIONS = {
    (State.ADMIN_DOWN, State.INIT): State.DOWN,
    (State.ADMIN_DOWN, State.UP): State.DOWN,
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.UP): State.DOWN,
    (State.INIT, State.DOWN): State.UP,
    (State.INIT, State.INIT): State.UP,
    (State.UP, State.INIT): State.UP,
}


@dataclass(frozen=True, slots=True)
class Changed:
    """bfd.SessionState went from `before` to `state`; `diagnostic` says why, when it went down."""

    before: State
    state: State
    diagnostic: Diagnostic


def draw_discriminator(random: Callable[[int], bytes], taken: Container[int] = ()) -> int:
    """A discriminator that is random, not zero, and none of `taken` (section 6.8.1, bfd.LocalDiscr)."""
    while (drawn := int.from_bytes(random(4), "big")) == 0 or drawn in taken:
        pass
    return drawn


class Session:
    """One BFD session: the local end of one path, and its state variables (section 6.8.1)."""

    def __init__(
        self,
        discriminator: int,
        random: Callable[[int], bytes],
        now: float,
        interval: int = INTERVAL,
        multiplier: int = MULTIPLIER,
    ) -> None:
        """`discriminator` is unlike that of every other session of this hub. `random` gives bytes.

        `interval`: microseconds between packets wanted in both directions, once Up. LocalError when a
        value has no place in a packet.
        """
        if not 0 < discriminator <= _LARGEST:
            raise LocalError("a BFD discriminator has 32 bits and is not zero")
        _check_interval(interval)
        if not 0 < multiplier < 256:
            raise LocalError(f"a BFD detect multiplier is 1 to 255, not {multiplier}")
        self._random = random
        self._events: deque[Changed] = deque()
        self._wanted = interval
        self.state = State.DOWN
        self.diagnostic = Diagnostic.NO_DIAGNOSTIC
        self.detect_mult = multiplier
        self.local_discriminator = discriminator
        self.desired_min_tx_interval = max(interval, SLOW)
        self.required_min_rx_interval = interval
        self.remote_state = State.DOWN
        self.remote_diagnostic = 0
        self.remote_discriminator = 0
        self.remote_min_rx_interval = 1
        self._remote_demand = False
        self._remote_desired = 0
        self._remote_mult = 0
        # Section 6.8.3: what is in use until a Poll Sequence ends may differ from what is said.
        self._tx_in_use = self.desired_min_tx_interval
        self._rx_in_use = self.required_min_rx_interval
        self._polling = self._poll_again = False
        self._final_over = True
        self._heard_at = now
        self._sent_at = now
        self._jitter = 0.0
        self._due = True
        self._final_due = False
        self._said: ControlPacket | None = None

    # What the shell asks ----------------------------------------------------------------------

    @property
    def transmit_interval(self) -> int:
        """The negotiated interval before jitter, in microseconds (section 6.8.7)."""
        return max(self._tx_in_use, self.remote_min_rx_interval)

    @property
    def detection_time(self) -> int:
        """Silence that means a dead path, in microseconds (section 6.8.4); 0 before the first packet."""
        return self._remote_mult * max(self._rx_in_use, self._remote_desired)

    def next_event(self) -> Changed | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def timer(self) -> float:
        """When to call `handle_timer`; infinity when nothing will be due."""
        due = self._next_periodic() if self._periodic else inf
        return min(due, self._expires() if self.remote_discriminator else inf)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        if self.remote_discriminator and now >= self._expires():
            # Section 6.8.1, bfd.RemoteDiscr, and section 6.8.18.
            self.remote_discriminator = 0
            self.remote_min_rx_interval = 1
            self._remote_demand = False
            if self.state in (State.INIT, State.UP):
                self._change(State.DOWN, Diagnostic.CONTROL_DETECTION_TIME_EXPIRED)
        if self._periodic and now >= self._next_periodic():
            self._due = True

    def packet_to_send(self, now: float) -> bytes | None:
        """The packet that must leave now, or None. Asking takes it."""
        if self._final_due:
            self._final_due = False
            return self._say(self._packet(final=True))
        if self._due and self._periodic:
            self._due = False
            self._sent_at = now
            self._jitter = self._draw_jitter()
            # Section 6.5: a poll rides on the periodic packets and on no others.
            return self._say(self._packet(poll=self._polling))
        if self._packet() != self._said:
            # Section 6.8.7: news does not wait for the interval.
            return self._say(self._packet())
        return None

    def set_interval(self, interval: int) -> None:
        """Want another interval in both directions, in microseconds (sections 6.8.10 and 6.8.11)."""
        _check_interval(interval)
        self._wanted = interval
        self._set_intervals()

    def disable(self, diagnostic: Diagnostic = Diagnostic.ADMINISTRATIVELY_DOWN) -> None:
        """Hold the session down until `enable` (section 6.8.16); the peer is told, for as long as it lasts.

        `PATH_DOWN` when something outside BFD knows that the path has failed.
        """
        self._change(State.ADMIN_DOWN, diagnostic)

    def enable(self) -> None:
        """End `disable`; nothing when it was not disabled."""
        if self.state is State.ADMIN_DOWN:
            self._change(State.DOWN, self.diagnostic)

    # In ---------------------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Something else came over this path that only the peer can have sent: it is not silent.

        Section 6.8.4 counts control packets alone. A carrier that keeps order brings them behind all that
        was written before, and a path that brings so much is no dead one.
        """
        if self.remote_discriminator:
            self._heard_at = now

    def receive(self, data: bytes, now: float) -> None:
        """Take one control packet by the procedure of section 6.8.6.

        DecodeError for a malformed one, UnexpectedMessageError for one of another session.
        """
        packet = decode_packet(data)
        if packet.your_discriminator not in (0, self.local_discriminator):
            raise UnexpectedMessageError("a BFD control packet names a session that is not here")
        self.remote_discriminator = packet.my_discriminator
        self.remote_state = packet.state
        self.remote_diagnostic = packet.diagnostic
        self._remote_demand = packet.demand
        self.remote_min_rx_interval = packet.required_min_rx_interval
        self._remote_desired = packet.desired_min_tx_interval
        self._remote_mult = packet.detect_mult
        self._heard_at = now
        if packet.final:
            self._end_poll()
        elif not self._final_over:
            self._next_poll()
        if self.state is State.ADMIN_DOWN:
            return
        state = _TRANSITIONS.get((packet.state, self.state), self.state)
        if state is not self.state:
            down = state is State.DOWN
            self._change(state, Diagnostic.NEIGHBOR_SIGNALED_SESSION_DOWN if down else self.diagnostic)
        if packet.poll:
            self._final_due = True

    # Inside -----------------------------------------------------------------------------------

    def _change(self, state: State, diagnostic: Diagnostic) -> None:
        before, self.state = self.state, state
        self.diagnostic = diagnostic
        self._set_intervals()
        if state is not before:
            self._events.append(Changed(before, state, diagnostic))

    def _set_intervals(self) -> None:
        desired = self._wanted if self.state is State.UP else max(self._wanted, SLOW)
        if (desired, self._wanted) != (self.desired_min_tx_interval, self.required_min_rx_interval):
            self.desired_min_tx_interval = desired
            self.required_min_rx_interval = self._wanted
            if self._polling or not self._final_over:
                self._poll_again = True
            else:
                self._polling = True
        # Section 6.8.3: a slower pace and a shorter patience wait until the peer knows of them. All else,
        # and everything while not Up, is at once.
        up = self.state is State.UP
        if not up or self.desired_min_tx_interval <= self._tx_in_use:
            self._tx_in_use = self.desired_min_tx_interval
        if not up or self.required_min_rx_interval >= self._rx_in_use:
            self._rx_in_use = self.required_min_rx_interval

    def _end_poll(self) -> None:
        if self._polling:
            self._polling = self._final_over = False
            if not self._poll_again:
                self._tx_in_use = self.desired_min_tx_interval
                self._rx_in_use = self.required_min_rx_interval

    def _next_poll(self) -> None:
        # Section 6.8.3: a packet without Final stands between two Poll Sequences, or nobody could tell to
        # which of them a Final belongs.
        self._final_over = True
        self._polling, self._poll_again = self._poll_again, False

    @property
    def _periodic(self) -> bool:
        # Section 6.8.7: no periodic packets for a peer that wants none, or that is in demand mode.
        demand = self._remote_demand and self.state is self.remote_state is State.UP and not self._polling
        return self.remote_min_rx_interval != 0 and not demand

    def _next_periodic(self) -> float:
        # From the last one, by the interval of now: one that became shorter is honored at once (6.8.3).
        return self._sent_at + self.transmit_interval * (1 - self._jitter) * _MICRO

    def _expires(self) -> float:
        return self._heard_at + self.detection_time * _MICRO

    def _draw_jitter(self) -> float:
        # Section 6.8.7: 0 to 25 % less; with a multiplier of 1, 10 to 25 % less.
        share = int.from_bytes(self._random(2), "big") / 0xFFFF
        least = 0.10 if self.detect_mult == 1 else 0.0
        return least + (0.25 - least) * share

    def _packet(self, poll: bool = False, final: bool = False) -> ControlPacket:
        return ControlPacket(
            diagnostic=self.diagnostic,
            state=self.state,
            poll=poll,
            final=final,
            demand=False,
            detect_mult=self.detect_mult,
            my_discriminator=self.local_discriminator,
            your_discriminator=self.remote_discriminator,
            desired_min_tx_interval=self.desired_min_tx_interval,
            required_min_rx_interval=self.required_min_rx_interval,
        )

    def _say(self, packet: ControlPacket) -> bytes:
        self._said = packet._replace(poll=False, final=False)
        return packet.encode()


def _check_interval(interval: int) -> None:
    if not 0 < interval <= _LARGEST:
        raise LocalError(f"a BFD interval is 1 to {_LARGEST} microseconds, not {interval}")
