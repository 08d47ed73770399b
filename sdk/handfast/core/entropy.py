"""The entropy of a machine: raw bytes of a quantum source, tested, mixed and drawn. Sans-IO.

    draw = KMAC256(S_D, "handfast-draw" || counter || quantum 64 || second source 64 || system 32)

S_D is renewed for every batch of draws and lives in memory alone; what is stored is one step
ahead of it and cannot be turned back:

    S_D     = KMAC256(stored, "handfast-state" || counter || quantum 64 || second 64 || system 32)
    stored' = KMAC256(S_D, "handfast-next" || counter)

So one good source among the stored secret, the quantum source, the second source and the
system's is enough, and neither a power cut nor a second start repeats a draw. Raw bytes enter by
`receive` and leave only inside these hashes: no error, report or text holds one of them.
"""

from handfast.core.constants import HEALTH_ALARM, HEALTH_NOT_RUN, HEALTH_OK
from handfast.core.errors import EntropyError, LocalError
from handfast.core.health_tests import FALSE_POSITIVE_EXPONENT, Alarm, HealthTests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto

# The specification's: bytes of the quantum source and of the second source in one draw.
QUANTUM = 64
SECOND = 64
# Ours: bytes of the operating system in one draw, of S_D, and of the start-up test, which
# SP 800-90B section 4.3 wants over at least 1024 samples: 1024 bytes and 8192 bits are.
SYSTEM = 32
SECRET = 32
STARTUP = 1024

_STATE_VERSION = 1
_STATE_LENGTH = 1 + SECRET + 8 + 4 + 8


class Batch:
    """Reserved draws: S_D, the number of the next one, and 64 bytes of each source for each of them."""

    def __init__(self, secret: bytes, counter: int, quantum: bytearray, second: bytearray) -> None:
        self.secret = secret
        self.counter = counter
        self.quantum = quantum
        self.second = second

    @property
    def left(self) -> int:
        """How many draws are left."""
        return len(self.quantum) // QUANTUM

    def forget(self) -> None:
        """Drop everything, as far as Python can."""
        self.secret = b""
        _wipe(self.quantum)
        _wipe(self.second)


class Pool:
    """Tested bytes of one quantum source, and the draws that are made of them.

    The order of work, which the port keeps: `needed` and `receive` until nothing is needed;
    `reserve`; store what it returned; `start_batch`; then `random` for each reserved draw.
    """

    def __init__(
        self,
        crypto: "Crypto",
        kind: int,
        model: str,
        min_entropy: int,
        state: "bytes | None",
        unique_id: bytes = b"",
        exponent: int = FALSE_POSITIVE_EXPONENT,
    ) -> None:
        """`min_entropy` in thousandths of a bit per bit. `state` is what `reserve` last returned, or
        None at the first boot; then `unique_id`, such as the chip's serial number, keeps two devices
        with one flash image apart. LocalError for a claim or a state that cannot be."""
        self._crypto = crypto
        self._kind = kind
        self._model = model
        self._claim = min_entropy
        self._exponent = exponent
        self._tests = HealthTests(min_entropy, exponent)
        self._startup = STARTUP
        self._failure = ""
        self.alarm: "Alarm | None" = None
        self._quantum = bytearray()
        self._batch = self._next = Batch(b"", 0, bytearray(), bytearray())
        if state is None:
            # Not secret yet: the first `reserve` mixes the sources in before anything is drawn.
            self._stored = crypto.kmac256(bytes(SECRET), b"handfast-first" + unique_id, SECRET, b"")
            self._bound = self.alarms = self._bytes = 0
        else:
            self._load(state)

    def _load(self, state: bytes) -> None:
        if len(state) != _STATE_LENGTH or state[0] != _STATE_VERSION:
            raise LocalError(
                "the stored entropy state is not %d bytes of version %d; restore it or reset the device"
                % (_STATE_LENGTH, _STATE_VERSION)
            )
        at = 1 + SECRET
        self._stored = bytes(state[1:at])
        self._bound = int.from_bytes(state[at : at + 8], "big")
        self.alarms = int.from_bytes(state[at + 8 : at + 12], "big")
        self._bytes = int.from_bytes(state[at + 12 :], "big")

    def state(self) -> bytes:
        """What must be stored: version, secret 32, counter 8, alarms 4, raw bytes 8. Secret."""
        return (
            bytes([_STATE_VERSION])
            + self._stored
            + self._bound.to_bytes(8, "big")
            + min(self.alarms, 0xFFFFFFFF).to_bytes(4, "big")
            + self._bytes.to_bytes(8, "big")
        )

    @property
    def failed(self) -> bool:
        """Whether the source is in alarm; `alarm` is then the health test's, or None when it fell silent."""
        return self._failure != ""

    @property
    def available(self) -> int:
        """How many draws `random` can still give; 0 in alarm."""
        return self._batch.left

    def needed(self, draws: int) -> int:
        """How many raw bytes `receive` still wants before `draws` draws can be reserved."""
        return max(0, self._startup + QUANTUM * (draws + 1) - len(self._quantum))

    def receive(self, raw: bytes) -> None:
        """Test the next raw bytes of the source and keep those that follow the start-up test.

        EntropyError when a health test raises the alarm, and always after it until `restart`.
        """
        self._refuse_in_alarm()
        self._bytes += len(raw)
        alarm = self._tests.test(raw)
        if alarm is not None:
            self.alarm = alarm
            raise self.fail(
                "failed the health test %r at sample %d (cut-off %d, claim %d/1000 bit of min-entropy per "
                "bit, false positives 2^-%d)"
                % (alarm.test, alarm.sample, alarm.cutoff, self._claim, self._exponent)
            )
        startup = min(self._startup, len(raw))
        self._startup -= startup
        self._quantum += raw[startup:]

    def fail(self, reason: str) -> EntropyError:
        """Enter the alarm and drop everything that was gathered; returns the error to raise.

        A port calls it when the source is silent or gone; `reason` continues "the source ...".
        """
        self.alarms += 1
        self._failure = "the source %r %s; no key is made from it until it passes the start-up test again" % (
            self._model,
            reason,
        )
        self._forget()
        return EntropyError(self._failure)

    def restart(self) -> None:
        """Leave the alarm and begin the start-up test anew. The count of alarms stays."""
        self._forget()
        self._tests = HealthTests(self._claim, self._exponent)
        self._startup = STARTUP
        self._failure = ""
        self.alarm = None

    def reserve(self, draws: int, second: bytes, system: bytes) -> bytes:
        """Renew S_D and reserve `draws` draws; returns the state to store before `start_batch`.

        `second` has 64 bytes and `system` 32 bytes for the renewal and 64 bytes of `second` more for
        each draw. The batch before goes on until `start_batch`. EntropyError in alarm or when `needed`
        is not 0.
        """
        self._refuse_in_alarm()
        if draws < 1 or len(second) != SECOND * (draws + 1) or len(system) != SYSTEM:
            raise LocalError("%d draws want 64 second bytes each and once more, and 32 of the system" % draws)
        needed = self.needed(draws)
        if needed:
            raise EntropyError("%d raw bytes are missing for %d draws; feed the pool first" % (needed, draws))
        counter = self._bound
        self._bound += draws
        fresh = _take(self._quantum, QUANTUM)
        quantum = bytearray(_take(self._quantum, QUANTUM * draws))
        number = counter.to_bytes(8, "big")
        mixed = b"handfast-state" + number + fresh + second[:SECOND] + system
        secret = self._crypto.kmac256(self._stored, mixed, SECRET, b"")
        self._stored = self._crypto.kmac256(secret, b"handfast-next" + number, SECRET, b"")
        self._next = Batch(secret, counter, quantum, bytearray(second[SECOND:]))
        return self.state()

    def start_batch(self) -> None:
        """The reserved state is stored: `random` draws from it now. Bytes that no draw used are kept."""
        self._quantum += self._batch.quantum
        self._batch.forget()
        self._batch = self._next
        self._next = Batch(b"", 0, bytearray(), bytearray())

    def random(self, length: int, system: bytes) -> bytes:
        """One draw of `length` bytes; `system` are 32 bytes of the operating system.

        EntropyError in alarm, and when no reserved draw is left.
        """
        self._refuse_in_alarm()
        if length < 1 or len(system) != SYSTEM:
            raise LocalError("a draw of %d bytes with %d of the system was asked for" % (length, len(system)))
        batch = self._batch
        if batch.left == 0:
            raise EntropyError("no draw is prepared; prepare the entropy before drawing from it")
        number = batch.counter.to_bytes(8, "big")
        # Spent before the hash is made: a failing hash must not leave them for a second draw.
        batch.counter += 1
        mixed = (
            b"handfast-draw" + number + _take(batch.quantum, QUANTUM) + _take(batch.second, SECOND) + system
        )
        return self._crypto.kmac256(batch.secret, mixed, length, b"")

    def report(self, second: "list[str]") -> "list[object]":
        """Entry 2 of DEVINFO; `second` names the second sources."""
        if self._failure:
            health = HEALTH_ALARM
        elif self._startup:
            health = HEALTH_NOT_RUN
        else:
            health = HEALTH_OK
        return [self._kind, self._model, self._claim, health, self.alarms, self._bytes, second]

    def _forget(self) -> None:
        _wipe(self._quantum)
        self._batch.forget()
        self._next.forget()

    def _refuse_in_alarm(self) -> None:
        if self._failure:
            raise EntropyError(self._failure)


def _take(buffer: bytearray, length: int) -> bytes:
    taken = bytes(buffer[:length])
    buffer[:length] = b""
    return taken


def _wipe(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))
    buffer[:] = b""
