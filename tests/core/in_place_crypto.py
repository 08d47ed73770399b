"""A Crypto port as a machine with little memory has it (handfast.ports), over that of any machine.

With it and a memoryview for message_2, a device works in one piece of memory wherever the tests run.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import Crypto


def joined(data: "bytes | memoryview | tuple[bytes, ...]") -> bytes:
    """Pieces, or what is one already."""
    return b"".join([bytes(piece) for piece in data]) if isinstance(data, tuple) else bytes(data)


class InPlaceCrypto:
    """Takes pieces and writes in place; another port computes."""

    def __init__(self, crypto: "Crypto") -> None:
        self._crypto = crypto

    def __getattr__(self, name: str) -> object:
        return getattr(self._crypto, name)

    def pieces(self, pieces: "tuple[bytes, ...]") -> "tuple[bytes, ...]":
        return pieces

    def hash(self, algorithm: int, data: "bytes | tuple[bytes, ...]") -> bytes:
        return self._crypto.hash(algorithm, joined(data))

    def kmac256(self, key: bytes, data: "bytes | tuple[bytes, ...]", length: int, custom: bytes) -> bytes:
        return self._crypto.kmac256(key, joined(data), length, custom)

    def xor_kmac256(self, key: bytes, data: "bytes | tuple[bytes, ...]", text: memoryview) -> None:
        text[:] = self._crypto.xor(bytes(text), self.kmac256(key, data, len(text), b""))

    def seal_in_place(self, algorithm: int, key: bytes, nonce: bytes, aad: bytes, text: memoryview) -> None:
        text[:] = self._crypto.seal(algorithm, key, nonce, aad, bytes(text[:-16]))

    def decapsulate(self, kem: str, seed: bytes, ciphertext: "bytes | memoryview") -> bytes:
        return self._crypto.decapsulate(kem, seed, bytes(ciphertext))

    def sign(
        self,
        algorithm: int,
        seed: bytes,
        message: "bytes | tuple[bytes, ...]",
        randomness: bytes,
        into: "memoryview | None" = None,
    ) -> "bytes | memoryview":
        signature = self._crypto.sign(algorithm, seed, joined(message), randomness)
        if into is None:
            return signature
        into[:] = signature
        return into

    def verify(
        self,
        algorithm: int,
        public_key: "bytes | memoryview",
        message: "bytes | tuple[bytes, ...]",
        signature: "bytes | memoryview",
    ) -> bool:
        return self._crypto.verify(algorithm, bytes(public_key), joined(message), bytes(signature))
