"""What handfast asks of a machine: Crypto, Entropy, Keystore, Clock and Link.

Ports are matched by shape; nobody inherits. `handfast_cpython` and `handfast_micropython` bring
twins of each. A port translates foreign exceptions into ours and nothing else does.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from handfast.core.topics import Endpoint
else:
    Protocol = object


class Crypto(Protocol):
    """Primitives, named by COSE number (hash, AEAD, signature) or by KEM name; all synchronous.

    Sizes of every argument are in `handfast.core.suites`. Randomness is always an argument, so
    that a handshake is a function of its inputs. A back end that cannot take it says so in
    `hedged` and uses the operating system's.

    A machine with little memory has four things more, all of them or none, and its link gives it a
    memoryview for a message of onboarding, which is then read and written where it lies:

    `pieces(pieces)` takes a tuple of byte strings that follow one another and gives back what `hash`,
    `kmac256` (as data), `sign` and `verify` (as message) take in place of the joined bytes. Who has no
    such method is given the joined bytes.
    `xor_kmac256(key, data, text)` XORs as many bytes of KMAC256, S being empty, as the memoryview `text`
    has into it; `data` as for `kmac256`.
    `seal_in_place(algorithm, key, nonce, aad, text)` makes a ciphertext with its tag of a memoryview in
    which room for the tag, `suites.AEADS[algorithm].tag_length` bytes, follows the plaintext.
    `sign(algorithm, seed, message, randomness, into)` writes the signature into the memoryview `into` of
    `suites.SIGNATURES[algorithm].signature` bytes, and gives it back. When it raises, half of one may
    stand there, which nobody must see.
    An algorithm, a key or a nonce that does not fit is a LocalError, as with the others; that `text` has
    room is the caller's affair.
    """

    # For --version and logs, such as "pycryptodome 4.4.0, cryptography 50.0.2".
    name: str
    # True when encapsulate and sign use the randomness that they are given.
    hedged: bool

    def supports(self, suite: int) -> bool:
        """Whether every primitive of suite number `suite` is there."""

    def hash(self, algorithm: int, data: bytes) -> bytes:
        """SHA-256 (-16), SHA-384 (-43) or 64 bytes of SHAKE256 (-45) of `data`."""

    def hmac(self, algorithm: int, key: bytes, data: bytes) -> bytes:
        """HMAC with SHA-256 (-16) or SHA-384 (-43), RFC 2104; for HKDF."""

    def kmac256(self, key: bytes, data: bytes, length: int, custom: bytes) -> bytes:
        """KMAC256, SP 800-185 section 4; `length` in bytes (the L of the standard is in bits)."""

    def equal(self, left: bytes, right: bytes) -> bool:
        """Compare in constant time."""

    def xor(self, left: bytes, right: bytes) -> bytes:
        """Both, of one length, combined bit by bit."""

    def seal(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """AEAD encryption; the tag stands at the end."""

    def open(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """AEAD decryption; AuthenticationError when the tag is wrong."""

    def kem_public_key(self, kem: str, seed: bytes) -> bytes:
        """The encapsulation key of the private key `seed`."""

    def encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> "tuple[bytes, bytes]":
        """(ciphertext, shared_secret of 32 bytes); DecodeError when FIPS 203 7.2 refuses the key."""

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        """The shared secret, 32 bytes. A wrong ciphertext gives a wrong secret, not an error."""

    def signature_public_key(self, algorithm: int, seed: bytes) -> bytes:
        """The ML-DSA public key of the private key `seed` (32 bytes)."""

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        """Hedged ML-DSA, empty context (FIPS 204 algorithm 2); `randomness` is 32 bytes."""

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """FIPS 204 algorithm 3; False for anything but a valid signature, whatever its length."""


class QuantumSource(Protocol):
    """A source of raw bits for `handfast.core.entropy`; what it gives never leaves the device.

    It may have a method `rest()`, called when a batch was drawn: what it holds open is closed until the
    next `read`, and what waits there is thrown away.
    """

    # 0 none, 1 quantum hardware, 2 operating system, 3 simulated: the value in DEVINFO.
    kind: int
    # Such as "simulated photonic source" or "/dev/hwrng"; at most 64 characters.
    model: str
    # Claimed min-entropy per bit, above 0 and at most 1.
    min_entropy: float

    async def read(self, length: int) -> bytes:
        """1 to `length` raw bytes; EntropyError when the source is silent or gone."""

    async def close(self) -> None:
        """Let go of the source; may be called twice."""


class Entropy(Protocol):
    """Random bytes out of a tested quantum source, mixed with a second one."""

    async def prepare(self, draws: int) -> None:
        """Fetch and test enough raw bytes for `draws` calls of `random`; EntropyError in alarm."""

    def random(self, length: int) -> bytes:
        """`length` bytes; EntropyError when none were prepared or a health test has failed."""

    def report(self) -> "list[object]":
        """Entry 2 of DEVINFO: [kind, model, min-entropy x 1000, health, alarms, bytes, second]."""


class Keystore(Protocol):
    """Small named values that survive a power cut at any moment."""

    def load(self, name: str) -> "bytes | None":
        """The value last saved under `name`, or None; KeystoreError when it cannot be read."""

    def save(self, name: str, value: bytes) -> None:
        """Replace `name` in one atomic step: afterwards the old or the new value, never a mix."""

    def erase(self, name: str) -> None:
        """Forget `name`; nothing happens when there is none."""

    def close(self) -> None:
        """Give up the lock that keeps a second process out."""


class Clock(Protocol):
    """Seconds from any fixed start; never jumps when somebody sets the wall clock."""

    def now(self) -> float:
        """Seconds."""

    async def sleep(self, seconds: float) -> None:
        """Let others work for that long."""


class Link(Protocol):
    """A way to carry payloads between a device and its hub. LinkError when it does not."""

    async def connect(self, endpoint: "Endpoint") -> None:
        """Join under endpoint.client_id and listen on endpoint.down; leaves a previous endpoint."""

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """Carry `payload` upwards. `channel` is None exactly when the endpoint has no channels."""

    async def receive(self) -> "tuple[int | None, bytes]":
        """The next payload from the hub with its channel."""

    async def close(self) -> None:
        """Leave; may be called twice."""


class Host(Protocol):
    """The bundle of ports that a Device takes.

    It may have a method `passed(step)`: a board lets go of what it had loaded for that step. The steps are
    "identity", it was read who the device is, something of it was stored, or the keys of an epoch were made;
    "drawn", the random bytes of an enrolment were drawn and `entropy` rests until the next one asks for it;
    "message_1" was made; "message_2" was verified; "message_3" was signed; and "enrolled", an enrolment has
    ended, well or not.
    """

    @property
    def crypto(self) -> Crypto:
        """Primitives."""

    @property
    def entropy(self) -> Entropy:
        """Random bytes."""

    @property
    def keystore(self) -> Keystore:
        """What survives a power cut."""

    @property
    def clock(self) -> Clock:
        """Time."""
