"""KEM and signature calls by heart, for an interpreter that cannot compute them.

A call has a name: its operation and the SHA-256 of all its inputs. CPython computes the call and
keeps the answer under that name in tests/vectors/replay; MicroPython looks it up. One input byte that
differs is another name, so a replayed handshake passes only if every byte up to that call was right.
"""

from handfast.core import errors
from handfast.core.suites import KEMS, SHA_256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto


class ReplayCrypto:
    """A Crypto port (handfast.ports): `machine` computes what is symmetric, `folder` knows the rest."""

    hedged = True

    def __init__(self, machine: "Crypto", folder: str) -> None:
        self.name = "replayed calls, " + machine.name
        self.hash = machine.hash
        self.hmac = machine.hmac
        self.kmac256 = machine.kmac256
        self.equal = machine.equal
        self.xor = machine.xor
        self.seal = machine.seal
        self.open = machine.open
        self._machine = machine
        self._folder = folder

    def supports(self, suite: int) -> bool:
        return suite in (-21, -22, -23, -24)

    def kem_public_key(self, kem: str, seed: bytes) -> bytes:
        return self._answer("kem_public_key", kem, seed)

    def encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> "tuple[bytes, bytes]":
        both = self._answer("encapsulate", kem, public_key, randomness)
        split = KEMS[kem].ciphertext
        return both[:split], both[split:]

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        return self._answer("decapsulate", kem, seed, ciphertext)

    def signature_public_key(self, algorithm: int, seed: bytes) -> bytes:
        return self._answer("signature_public_key", algorithm, seed)

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        return self._answer("sign", algorithm, seed, message, randomness)

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return self._answer("verify", algorithm, public_key, message, signature) == b"\x01"

    def _answer(self, operation: str, algorithm: "str | int", *inputs: bytes) -> bytes:
        """The answer of a recorded call; the error that it raised, if it raised one."""
        name = self._name(operation, algorithm, inputs)
        answer = self._recorded(name)
        if answer is None:
            raise AssertionError(
                "nobody recorded %s: an input differs from CPython's, or the test is new: make record" % name
            )
        if answer.startswith(b"raises "):
            raise getattr(errors, answer[7:].decode())("recorded with %s" % name)
        return answer

    def _recorded(self, name: str) -> "bytes | None":
        try:
            with open(self._folder + "/" + name, "rb") as file:
                return file.read()
        except OSError:
            return None

    def _name(self, operation: str, algorithm: "str | int", inputs: "tuple[bytes, ...]") -> str:
        parts = [operation.encode(), str(algorithm).encode()]
        parts.extend(inputs)
        data = b"".join([len(part).to_bytes(4, "big") + bytes(part) for part in parts])
        return operation + "-" + self.hash(SHA_256, data).hex()[:32]


class RecordingCrypto(ReplayCrypto):
    """Computes every call, and complains when a recorded answer is another one; keeps answers on request.

    `keep(name, answer)` is called with each call that was made; None keeps nothing.
    """

    def __init__(self, machine: "Crypto", folder: str) -> None:
        super().__init__(machine, folder)
        self.name = machine.name
        self.hedged = machine.hedged
        self.keep = None

    def supports(self, suite: int) -> bool:
        return self._machine.supports(suite)

    def _answer(self, operation: str, algorithm: "str | int", *inputs: bytes) -> bytes:
        name = self._name(operation, algorithm, inputs)
        error = None
        try:
            answer = _flat(getattr(self._machine, operation)(algorithm, *inputs))
        except errors.PeerError as raised:
            error = raised
            answer = b"raises " + type(raised).__name__.encode()
        if self.keep is not None:
            self.keep(name, answer)
        elif self._recorded(name) not in (None, answer):
            raise AssertionError("%s was recorded with another answer: make record" % name)
        if error is not None:
            raise error
        return answer


def _flat(value: "bytes | bool | tuple[bytes, bytes]") -> bytes:
    if isinstance(value, tuple):
        return value[0] + value[1]
    if isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    return value
