"""The device after its enrolment: keys that survive power cuts, records in and out (2.8, 2.9).

    ENROLLED  a key is stored; nothing of the hub was heard under it. fin goes out again and again.
    ACTIVE    the hub was heard under this key. Each epoch is confirmed anew; hello goes out until then.
    REVOKED   the hub said so in a sealed record. Nothing goes out any more.

The whole persistent state is one value. `next_event` gives Store(state) whenever it changed, and
until the shell has saved it and said `stored(state)`, nothing comes out that depends on it: no
frame, no data, no Confirmed. So a power cut at any moment finds the old state or the new one, and
in both of them everything that left the device was reserved before.

No replay window is stored. It is not needed: after a restart the device steps into a fresh epoch
when it has heard the hub in the old one, and when it has not, the window was empty.
"""

from collections import namedtuple

from handfast.core.constants import (
    CONTROL_ACK,
    CONTROL_FIN,
    CONTROL_HELLO,
    CONTROL_REVOKED,
    CONTROL_STEP,
    ENROL_AGAIN_AFTER,
    FIN_DELAY,
    MAX_EPOCH_FAILURES,
    MAX_EPOCH_RECORDS,
    MAX_FIN_DELAY,
    SENDER_DEVICE,
    SENDER_HUB,
    SEQUENCE_BLOCK,
)
from handfast.core.errors import (
    AuthenticationError,
    DecodeError,
    LocalError,
    RefusedError,
    UnexpectedMessageError,
)
from handfast.core.hidden import Hidden
from handfast.core.plaintexts import decode_control, decode_request, encode_control, encode_response
from handfast.core.records import RecordKeys, decode_header
from handfast.core.replay import FRESH, accept, check
from handfast.core.root_key import MAX_EPOCH
from handfast.core.session_events import Confirmed, Data, EnrolAgain, Revoked, Store
from handfast.core.stored_session import Stored, decode_stored, encode_stored
from handfast.core.suites import suite
from handfast.core.topics import ALARM, BULK, COMMAND, CONTROL, RESPONSE, TELEMETRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.plaintexts import Control
    from handfast.core.replay import Window
    from handfast.core.root_key import RootKeys
    from handfast.ports import Crypto


ENROLLED = "ENROLLED"
ACTIVE = "ACTIVE"
REVOKED = "REVOKED"


class _Epoch(Hidden, namedtuple("_Epoch", ("number", "secret", "sender", "receiver"))):
    """What one epoch needs in memory: T_epoch, and the RecordKeys of both directions."""

    __slots__ = ()


_SENT_BY_APPLICATIONS = (TELEMETRY, BULK, ALARM)


def enrol(
    crypto: "Crypto", number: int, device_id: bytes, attempt: bytes, epoch: int, keys: "RootKeys", now: float
) -> "DeviceSession":
    """The session of a handshake that just ended: its first event is the Store that enrols the device."""
    # Here and below not at the top: a board lets go of it when the keys of an epoch are made.
    from handfast.core.root_key import check_epoch

    check_epoch(epoch)
    session = DeviceSession(crypto, number, device_id, attempt, keys.root_key)
    session._enter(session._derive(epoch, keys.traffic_secret), now)
    return session


def resume(crypto: "Crypto", stored: bytes, now: float) -> "DeviceSession":
    """The session after a restart; DecodeError for bytes that no Store event gave.

    It steps into a new epoch when the hub was heard in the stored one. Otherwise it stays and goes on
    above the bound, as nobody knows which of the reserved numbers were used.
    """
    found = decode_stored(stored)
    session = DeviceSession(crypto, found.suite, found.device_id, found.attempt, found.root_key)
    session._restart(found, now)
    return session


class DeviceSession:
    """One key of one device. Made by `enrol` and `resume`.

    device_id: 8 bytes. attempt: 16 bytes, what made this key; `have` of the next enrolment.
    """

    def __init__(
        self, crypto: "Crypto", number: int, device_id: bytes, attempt: bytes, root_key: bytes
    ) -> None:
        self.device_id = device_id
        self.attempt = attempt
        self._crypto = crypto
        self._suite = suite(number)
        self._root_key = root_key
        self._confirmed = False
        self._active = False
        self._reason: "str | None" = None
        self._epoch: "_Epoch | None" = None
        self._piv = 0
        self._bound = 0
        self._window: "Window" = FRESH
        self._failures = 0
        # After a restart at epoch 65535 every record could be a replay: none is opened.
        self._deaf = False
        self._unsaved = True
        self._events: "list[object]" = []
        self._frames: "list[tuple[int, bytes]]" = []
        self._opener_at: "float | None" = None
        self._opener_delay = FIN_DELAY
        self._enrol_at: "float | None" = None

    @property
    def epoch(self) -> int:
        """0..65535; RefusedError once revoked."""
        return int(self._living().number)

    @property
    def confirmed(self) -> bool:
        """Whether the hub was heard in this epoch since the last start; commands need it."""
        return self._confirmed and not self._deaf

    @property
    def state(self) -> str:
        """ENROLLED, ACTIVE or REVOKED."""
        if self.revoked:
            return REVOKED
        return ACTIVE if self._active else ENROLLED

    @property
    def revoked(self) -> bool:
        """Whether `state` is REVOKED."""
        return self._reason is not None

    @property
    def active(self) -> bool:
        """Whether `state` is ACTIVE."""
        return self._active and not self.revoked

    def device_key(self) -> bytes:
        """K_dev, 32 bytes: the application's own key; RefusedError once revoked."""
        from handfast.core.root_key import device_key

        self._living()
        return device_key(self._crypto, self._suite.hash, self._root_key)

    def receive(self, channel: int, record: bytes, now: float) -> None:
        """One record that came on `channel`. PeerError when it is not the hub's; nothing moved then."""
        if self._reason is not None:
            return
        epoch = self._living()
        header = decode_header(record)
        if header.sender != SENDER_HUB:
            raise DecodeError("a record for the device is sealed by the hub")
        if header.epoch != epoch.number:
            raise UnexpectedMessageError("epoch %d was expected, not %d" % (epoch.number, header.epoch))
        if self._deaf:
            raise UnexpectedMessageError("the last epoch cannot tell a replay after a restart; enrol again")
        if channel == COMMAND and not self._confirmed:
            raise UnexpectedMessageError("a command came before this epoch was confirmed")
        check(self._window, header.piv, channel)
        try:
            plaintext = epoch.receiver.open(header, record, channel)
        except AuthenticationError:
            self._count_failure(now)
            raise
        window = accept(self._window, header.piv, channel)
        if channel == CONTROL:
            self._control(decode_control(plaintext), window, now)
            return
        if channel == COMMAND:
            plaintext = decode_request(plaintext)
        self._heard(window)
        self._events.append(Data(channel, plaintext, header.epoch, header.piv))

    def send(self, channel: int, plaintext: bytes, now: float) -> "tuple[int, int]":
        """Seal the application's bytes; gives (epoch, PIV). Channels telemetry, bulk and alarm.

        LocalError above 65,000 bytes, RefusedError once revoked.
        """
        if channel not in _SENT_BY_APPLICATIONS:
            raise LocalError("applications send on channels 1, 4 and 5, not %d" % channel)
        return self._seal(channel, plaintext, now)

    def respond(self, epoch: int, piv: int, status: int, data: bytes, now: float) -> "tuple[int, int]":
        """Seal the response to the command that came as Data(COMMAND, ..., epoch, piv)."""
        return self._seal(RESPONSE, encode_response(epoch, piv, status, data), now)

    def next_event(self) -> "object | None":
        """The next Store, Confirmed, Data, EnrolAgain or Revoked, or None; a Store comes first."""
        if self._unsaved:
            return Store(self._encode())
        return self._events.pop(0) if self._events else None

    def stored(self, state: bytes) -> None:
        """The shell has saved `state`. When more changed meanwhile, another Store follows."""
        if state == self._encode():
            self._unsaved = False

    def frames_to_send(self, now: float) -> "list[tuple[int, bytes]]":
        """What to carry now: [(channel, record)], each given once; [] while a Store is due."""
        if not self._unsaved:
            self._open_epoch(now)
        if self._unsaved:
            return []
        frames = self._frames
        self._frames = []
        return frames

    def timer(self) -> "float | None":
        """When to call handle_timer and then frames_to_send, or None."""
        times = [time for time in (self._opener_at, self._enrol_at) if time is not None]
        return min(times) if times else None

    def handle_timer(self, now: float) -> None:
        """Says EnrolAgain each hour that the hub is silent; fin and hello come by frames_to_send."""
        if self._enrol_at is not None and now >= self._enrol_at:
            self._enrol_at = now + ENROL_AGAIN_AFTER
            self._events.append(EnrolAgain())

    def _restart(self, found: "Stored", now: float) -> None:
        if found.reason is not None:
            self._reason = found.reason
            self._unsaved = False
            self._events.append(Revoked(found.reason))
            return
        self._active = found.active
        if found.confirmed and found.epoch < MAX_EPOCH:
            self._enter(self._next(found.epoch, found.secret), now)
            return
        self._enter(self._derive(found.epoch, found.secret), now)
        self._bound = found.bound
        self._jump()
        if found.confirmed:
            self._confirmed = self._deaf = True
            self._opener_at = None
            self._enrol_at = now

    def _living(self) -> "_Epoch":
        if self._epoch is None:
            raise RefusedError("the hub has revoked this device: %s" % self._reason)
        return self._epoch

    def _derive(self, number: int, secret: bytes) -> "_Epoch":
        from handfast.core.root_key import record_keys

        crypto, both = self._crypto, []
        for sender in (SENDER_DEVICE, SENDER_HUB):
            key, civ = record_keys(crypto, self._suite.number, secret, sender)
            both.append(RecordKeys(crypto, self._suite.number, self.device_id, number, sender, key, civ))
        return _Epoch(number, secret, both[0], both[1])

    def _next(self, number: int, secret: bytes) -> "_Epoch":
        from handfast.core.root_key import next_secret

        return self._derive(number + 1, next_secret(self._crypto, self._suite.hash, secret, number + 1))

    def _enter(self, epoch: "_Epoch", now: float) -> None:
        """A fresh epoch. Its keys are arguments: when the back end fails, nothing has changed."""
        self._epoch = epoch
        self._piv = 0
        self._bound = SEQUENCE_BLOCK
        self._confirmed = False
        self._window = FRESH
        self._failures = 0
        self._unsaved = True
        self._opener_at = now
        self._opener_delay = FIN_DELAY
        self._enrol_at = now + ENROL_AGAIN_AFTER

    def _jump(self) -> None:
        self._piv = self._bound
        self._bound += SEQUENCE_BLOCK
        self._unsaved = True

    def _step(self, now: float, heard: "Window | None" = None) -> None:
        """Enter the next epoch, or ask for another key when there is none; `heard` first, or neither."""
        epoch = self._living()
        after = self._next(epoch.number, epoch.secret) if epoch.number < MAX_EPOCH else None
        if heard is not None:
            self._heard(heard)
        if after is not None:
            self._enter(after, now)
        elif self._enrol_at is None:
            self._enrol_at = now

    def _control(self, control: "Control", window: "Window", now: float) -> None:
        if control.kind == CONTROL_ACK and control.value == self.attempt:
            self._heard(window)
        elif control.kind == CONTROL_STEP:
            self._step(now, window)
        elif control.kind == CONTROL_REVOKED:
            self._revoke(control.value)
        else:
            raise DecodeError("the hub sends ack for attempt %s, step or revoked" % self.attempt.hex())

    def _heard(self, window: "Window") -> None:
        """A record of the hub was opened. The first one of an epoch is written down before it counts."""
        self._window = window
        if not self._confirmed:
            self._confirmed = self._active = self._unsaved = True
            self._opener_at = self._enrol_at = None
            self._events.append(Confirmed(self.attempt, self.epoch))

    def _revoke(self, reason: str) -> None:
        self._reason = reason
        self._epoch = None
        self._root_key = b""
        self._frames = []
        self._opener_at = self._enrol_at = None
        self._unsaved = True
        self._events.append(Revoked(reason))

    def _count_failure(self, now: float) -> None:
        self._failures += 1
        if self._failures >= MAX_EPOCH_FAILURES:
            if self._confirmed:
                self._step(now)
            else:
                self._jump()
            self._failures = 0

    def _seal(self, channel: int, plaintext: bytes, now: float) -> "tuple[int, int]":
        self._living()
        if self._piv >= MAX_EPOCH_RECORDS and self._confirmed:
            self._step(now)
        self._open_epoch(now)
        return self._append(channel, plaintext)

    def _open_epoch(self, now: float) -> None:
        """Seal fin or hello when it is due: first in its epoch, then until the hub is heard."""
        if self._opener_at is None or now < self._opener_at:
            return
        hello, fin = (
            encode_control(CONTROL_HELLO),
            encode_control(CONTROL_FIN, self.attempt),
        )
        self._append(CONTROL, hello if self._active else fin)
        self._opener_at = now + self._opener_delay
        self._opener_delay = min(2 * self._opener_delay, MAX_FIN_DELAY)

    def _append(self, channel: int, plaintext: bytes) -> "tuple[int, int]":
        epoch, piv = self._living(), self._piv
        record = epoch.sender.seal(piv, channel, plaintext)
        if piv >= self._bound:
            self._bound = piv + SEQUENCE_BLOCK
            self._unsaved = True
        self._piv = piv + 1
        self._frames.append((channel, record))
        return epoch.number, piv

    def _encode(self) -> bytes:
        number, secret = (0, b"") if self._epoch is None else (self._epoch.number, self._epoch.secret)
        key = (self._suite.number, self.device_id, self.attempt, self._root_key, number, secret)
        return encode_stored(Stored(*key, self._bound, self._confirmed, self._active, self._reason))
