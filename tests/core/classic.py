"""Suites of RFC 9528 itself, for tests alone: they let published traces and foreign peers judge us.

A Diffie-Hellman exchange is dressed as a KEM: the ephemeral private key is the seed on one side and
the randomness of `encapsulate` on the other, the ephemeral public key is the ciphertext. Nothing in
the product knows these suites. Where pyca/cryptography is missing (MicroPython) `Recorded` stands in
for the curves: it answers what a trace says and fails on any other question.
"""

from collections import namedtuple

from host_crypto import crypto as machine

from handfast.core.errors import DecodeError
from handfast.core.suites import AES_CCM_16_64_128, AES_CCM_16_128_128, KEMS, SHA_256, SHA_384, Kem, Suite

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    HAVE_CURVES = True
except ImportError:
    HAVE_CURVES = False

X25519 = "X25519"
P_256 = "P-256"
P_384 = "P-384"
EDDSA = -8
ES256 = -7
ES384 = -35
A128GCM = 1
A256GCM = 3

# RFC 9528 section 10.2. Suites 6 and 24 are only ever offered or refused.
SUITES = {
    0: Suite(
        0,
        AES_CCM_16_64_128,
        SHA_256,
        8,
        X25519,
        EDDSA,
        AES_CCM_16_64_128,
        SHA_256,
        AES_CCM_16_128_128,
        False,
    ),
    2: Suite(
        2,
        AES_CCM_16_64_128,
        SHA_256,
        8,
        P_256,
        ES256,
        AES_CCM_16_64_128,
        SHA_256,
        AES_CCM_16_128_128,
        False,
    ),
    6: Suite(6, A128GCM, SHA_256, 16, X25519, ES256, A128GCM, SHA_256, AES_CCM_16_128_128, False),
    24: Suite(24, A256GCM, SHA_384, 16, P_384, ES384, A256GCM, SHA_384, AES_CCM_16_128_128, False),
}
# The x coordinate travels (RFC 9528 section 3.7); the secret is one too.
_LENGTHS = {X25519: 32, P_256: 32, P_384: 48}
KEMS.update({curve: Kem(curve, length, length, length, length) for curve, length in _LENGTHS.items()})

# Every answer that a trace knows: public keys by private key, secrets by (private, public),
# signatures by (private key, message), and the triples (public key, message, signature) that hold.
Answers = namedtuple("Answers", ("public_keys", "secrets", "signatures", "verified"))


class Recorded:
    """Curves that know the answers of one trace and nothing else: another question is a KeyError."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def public_key(self, curve: str, private: bytes) -> bytes:
        return self._answers.public_keys[private]

    def shared(self, curve: str, private: bytes, public: bytes) -> bytes:
        return self._answers.secrets[(private, public)]

    def signature_public_key(self, algorithm: int, private: bytes) -> bytes:
        return self._answers.public_keys[private]

    def sign(self, algorithm: int, private: bytes, message: bytes) -> bytes:
        return self._answers.signatures[(private, message)]

    def verify(self, algorithm: int, public: bytes, message: bytes, signature: bytes) -> bool:
        return (public, message, signature) in self._answers.verified


class Curves:
    """X25519, P-256, P-384, Ed25519 and ECDSA of pyca/cryptography.

    DH keys are x coordinates; an ECDSA public key is x || y. DecodeError for a point that is none.
    """

    def __init__(self) -> None:
        self._nist = {P_256: ec.SECP256R1(), P_384: ec.SECP384R1()}
        self._ecdsa = {ES256: (P_256, hashes.SHA256()), ES384: (P_384, hashes.SHA384())}

    def public_key(self, curve: str, private: bytes) -> bytes:
        if curve == X25519:
            return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        return self._point(curve, private)[: _LENGTHS[curve]]

    def shared(self, curve: str, private: bytes, public: bytes) -> bytes:
        try:
            if curve == X25519:
                peer = X25519PublicKey.from_public_bytes(public)
                return X25519PrivateKey.from_private_bytes(private).exchange(peer)
            # Either y gives the same x of the product (RFC 9528 appendix B).
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._nist[curve], b"\x02" + public)
            return self._private(curve, private).exchange(ec.ECDH(), point)
        except ValueError:
            raise DecodeError("not the public key of a %s exchange" % curve)

    def signature_public_key(self, algorithm: int, private: bytes) -> bytes:
        if algorithm == EDDSA:
            return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        return self._point(self._ecdsa[algorithm][0], private)

    def sign(self, algorithm: int, private: bytes, message: bytes) -> bytes:
        if algorithm == EDDSA:
            return Ed25519PrivateKey.from_private_bytes(private).sign(message)
        curve, hash_function = self._ecdsa[algorithm]
        der = self._private(curve, private).sign(message, ec.ECDSA(hash_function, deterministic_signing=True))
        r, s = utils.decode_dss_signature(der)
        return r.to_bytes(_LENGTHS[curve], "big") + s.to_bytes(_LENGTHS[curve], "big")

    def verify(self, algorithm: int, public: bytes, message: bytes, signature: bytes) -> bool:
        try:
            if algorithm == EDDSA:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
                return True
            curve, hash_function = self._ecdsa[algorithm]
            half = _LENGTHS[curve]
            if len(signature) != 2 * half:
                return False
            r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._nist[curve], b"\x04" + public)
            point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hash_function))
            return True
        except (InvalidSignature, ValueError):
            return False

    def _private(self, curve: str, private: bytes) -> "ec.EllipticCurvePrivateKey":
        return ec.derive_private_key(int.from_bytes(private, "big"), self._nist[curve])

    def _point(self, curve: str, private: bytes) -> bytes:
        numbers = self._private(curve, private).public_key().public_numbers()
        length = _LENGTHS[curve]
        return numbers.x.to_bytes(length, "big") + numbers.y.to_bytes(length, "big")


class ClassicCrypto:
    """A Crypto port (handfast.ports) for the suites above; what is not a curve is the machine's own.

    It remembers the private key of every ephemeral public key it made, because method 3 needs the
    Responder's again for message_3 and an encapsulation in the product leaves none behind.
    """

    hedged = True

    def __init__(self, curves: "Curves | Recorded | None" = None) -> None:
        self.name = "suites of RFC 9528 for tests, over " + machine.name
        self.hash = machine.hash
        self.hmac = machine.hmac
        self.equal = machine.equal
        self.xor = machine.xor
        self.seal = machine.seal
        self.open = machine.open
        self._curves = Curves() if curves is None else curves
        self._ephemeral: "dict[bytes, bytes]" = {}

    def supports(self, suite: int) -> bool:
        return suite in (0, 2)

    def kem_public_key(self, kem: str, seed: bytes) -> bytes:
        public = self._curves.public_key(kem, seed)
        self._ephemeral[public] = seed
        return public

    def encapsulate(self, kem: str, public_key: bytes, randomness: bytes) -> "tuple[bytes, bytes]":
        g_xy = self.shared_secret(kem, randomness, public_key)
        return self.kem_public_key(kem, randomness), g_xy

    def decapsulate(self, kem: str, seed: bytes, ciphertext: bytes) -> bytes:
        return self.shared_secret(kem, seed, ciphertext)

    def signature_public_key(self, algorithm: int, seed: bytes) -> bytes:
        return self._curves.signature_public_key(algorithm, seed)

    def sign(self, algorithm: int, seed: bytes, message: bytes, randomness: bytes) -> bytes:
        return self._curves.sign(algorithm, seed, message)

    def verify(self, algorithm: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return self._curves.verify(algorithm, public_key, message, signature)

    def shared_secret(self, curve: str, private: bytes, public: bytes) -> bytes:
        """G_RX or G_IY with the private static key; any other secret of two given keys, too."""
        if len(public) != _LENGTHS[curve]:
            raise DecodeError("a %s public key has %d bytes, not %d" % (curve, _LENGTHS[curve], len(public)))
        return self._curves.shared(curve, private, public)

    def ephemeral_shared(self, curve: str, own_public: bytes, static_public: bytes) -> bytes:
        """G_RX or G_IY with the private key of our own G_X or G_Y."""
        # A view of the payload it went out in; MicroPython makes no name of that.
        return self.shared_secret(curve, self._ephemeral[bytes(own_public)], static_public)
