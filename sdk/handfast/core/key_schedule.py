"""The key schedule of EDHOC (RFC 9528 section 4), every label of it.

    PRK_2e --(G_RX)--> PRK_3e2m --(G_IY)--> PRK_4e3m --> PRK_out --> PRK_exporter

With signatures (method 0) PRK_3e2m and PRK_4e3m are PRK_2e. `extract` and `expand` serve the keys
that outlive a handshake too (root_key.py, records.py). Lengths are in bytes; PRKs are as long as
the EDHOC hash. `id_cred` and `cred` are encoded CBOR items, `ead` is the encoded EAD_x, b"" when
absent; all three go in unchanged.
"""

from handfast.core.cbor import encode, head_of_bytes
from handfast.core.constants import (
    KDF_IV_3,
    KDF_IV_4,
    KDF_K_3,
    KDF_K_4,
    KDF_KEY_UPDATE,
    KDF_KEYSTREAM_2,
    KDF_MAC_2,
    KDF_MAC_3,
    KDF_PRK_EXPORTER,
    KDF_PRK_OUT,
    KDF_SALT_3E2M,
    KDF_SALT_4E3M,
)
from handfast.core.identifiers import encode_identifier
from handfast.core.kdf import expand, extract, info
from handfast.core.suites import AEADS, HASHES, SHAKE256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from handfast.core.suites import Suite
    from handfast.ports import Crypto

    # Byte strings that follow one another; views too, where a machine has little memory.
    Pieces = tuple[bytes, ...]


def context_2(c_r: bytes, id_cred_r: bytes, th_2: bytes, cred_r: bytes, ead_2: bytes) -> "Pieces":
    """<< C_R, ID_CRED_R, TH_2, CRED_R, ? EAD_2 >>, its content in pieces (section 5.3.2)."""
    return encode(encode_identifier(c_r)), id_cred_r, encode(th_2), cred_r, ead_2


def context_3(id_cred_i: bytes, th_3: bytes, cred_i: bytes, ead_3: bytes) -> "Pieces":
    """<< ID_CRED_I, TH_3, CRED_I, ? EAD_3 >>, its content in pieces (section 5.4.2)."""
    return id_cred_i, encode(th_3), cred_i, ead_3


class KeySchedule:
    """The derivations of one suite. It holds no secret: every PRK is an argument and a result."""

    def __init__(self, crypto: "Crypto", suite: "Suite") -> None:
        self.crypto = crypto
        self.suite = suite
        self.hash_length: int = HASHES[suite.hash].length
        self._hash: int = suite.hash
        # What is hashed or signed in pieces; a port with little memory never joins them.
        self.joined: "Callable[[Pieces], Any]" = getattr(crypto, "pieces", b"".join)

    def hash(self, data: bytes) -> bytes:
        """The EDHOC hash."""
        return self.crypto.hash(self._hash, data)

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        """EDHOC_Extract with the hash of the suite."""
        return extract(self.crypto, self._hash, salt, ikm)

    def expand(self, prk: bytes, label: int, context: "bytes | Pieces", length: int) -> bytes:
        """EDHOC_KDF with the hash of the suite."""
        if self._hash == SHAKE256:
            # The same without a call: a handshake expands eleven times.
            return self.crypto.kmac256(prk, info(label, context, length), length, b"")
        return expand(self.crypto, self._hash, prk, label, context, length)

    def th_2(self, g_y: bytes, message_1: bytes) -> bytes:
        """H( G_Y, H(message_1) ) (section 5.3.2)."""
        return self.th_2_of(g_y, self.hash(message_1))

    def th_2_of(self, g_y: bytes, hash_1: bytes) -> bytes:
        """th_2 where H(message_1) was kept and message_1 was not."""
        return self.hash(self.joined((head_of_bytes(len(g_y)), g_y, encode(hash_1))))

    def th_3(self, th_2: bytes, plaintext_2: bytes, cred_r: bytes) -> bytes:
        """H( TH_2, PLAINTEXT_2, CRED_R ), the plaintext as it was sent (section 5.4.2)."""
        return self.hash(self.joined((encode(th_2), plaintext_2, cred_r)))

    def th_4(self, th_3: bytes, plaintext_3: bytes, cred_i: bytes) -> bytes:
        """H( TH_3, PLAINTEXT_3, CRED_I ), the plaintext as it was sent (section 5.4.2)."""
        return self.hash(self.joined((encode(th_3), plaintext_3, cred_i)))

    def prk_2e(self, th_2: bytes, g_xy: bytes) -> bytes:
        """From the shared secret of the KEM (section 4.1.1.1)."""
        return self.extract(th_2, g_xy)

    def keystream_2(self, prk_2e: bytes, th_2: bytes, length: int) -> bytes:
        """What PLAINTEXT_2, `length` bytes of it, is XORed with (section 5.3.2)."""
        return self.expand(prk_2e, KDF_KEYSTREAM_2, th_2, length)

    def cipher_2(self, prk_2e: bytes, th_2: bytes, text: "bytes | memoryview") -> "Any":
        """CIPHERTEXT_2 out of PLAINTEXT_2, and the other way round (section 5.3.2).

        A memoryview that may be written to holds the other text afterwards, and is what comes back.
        """
        if isinstance(text, memoryview) and self._hash == SHAKE256:
            crypto: "Any" = self.crypto
            crypto.xor_kmac256(prk_2e, info(KDF_KEYSTREAM_2, th_2, len(text)), text)
            return text
        return self.crypto.xor(bytes(text), self.keystream_2(prk_2e, th_2, len(text)))

    def salt_3e2m(self, prk_2e: bytes, th_2: bytes) -> bytes:
        """The salt of PRK_3e2m when the Responder has a static DH key (section 4.1.1.2)."""
        return self.expand(prk_2e, KDF_SALT_3E2M, th_2, self.hash_length)

    def salt_4e3m(self, prk_3e2m: bytes, th_3: bytes) -> bytes:
        """The salt of PRK_4e3m when the Initiator has a static DH key (section 4.1.1.3)."""
        return self.expand(prk_3e2m, KDF_SALT_4E3M, th_3, self.hash_length)

    def mac_2(self, prk_3e2m: bytes, context: "Pieces", length: int) -> bytes:
        """MAC_2 over context_2(...). `length` is an input of it: a shorter MAC is another MAC."""
        return self.expand(prk_3e2m, KDF_MAC_2, self.joined(context), length)

    def mac_3(self, prk_4e3m: bytes, context: "Pieces", length: int) -> bytes:
        """MAC_3 over context_3(...)."""
        return self.expand(prk_4e3m, KDF_MAC_3, self.joined(context), length)

    def k_3(self, prk_3e2m: bytes, th_3: bytes) -> bytes:
        """The AEAD key of message_3."""
        return self.expand(prk_3e2m, KDF_K_3, th_3, AEADS[self.suite.aead].key_length)

    def iv_3(self, prk_3e2m: bytes, th_3: bytes) -> bytes:
        """The nonce of message_3; used once, as K_3 is new in each session."""
        return self.expand(prk_3e2m, KDF_IV_3, th_3, AEADS[self.suite.aead].nonce_length)

    def k_4(self, prk_4e3m: bytes, th_4: bytes) -> bytes:
        """The AEAD key of message_4."""
        return self.expand(prk_4e3m, KDF_K_4, th_4, AEADS[self.suite.aead].key_length)

    def iv_4(self, prk_4e3m: bytes, th_4: bytes) -> bytes:
        """The nonce of message_4; never with two different EAD_4, so message_4 is cached."""
        return self.expand(prk_4e3m, KDF_IV_4, th_4, AEADS[self.suite.aead].nonce_length)

    def prk_out(self, prk_4e3m: bytes, th_4: bytes) -> bytes:
        """The session key (section 4.1.3)."""
        return self.expand(prk_4e3m, KDF_PRK_OUT, th_4, self.hash_length)

    def prk_exporter(self, prk_out: bytes) -> bytes:
        """What `exporter` derives from."""
        return self.expand(prk_out, KDF_PRK_EXPORTER, b"", self.hash_length)

    def exporter(self, prk_exporter: bytes, label: int, context: bytes, length: int) -> bytes:
        """EDHOC_Exporter (section 4.2.1): one (label, context) for one purpose."""
        return self.expand(prk_exporter, label, context, length)

    def key_update(self, prk_out: bytes, context: bytes) -> bytes:
        """EDHOC_KeyUpdate (appendix H): the next PRK_out."""
        return self.expand(prk_out, KDF_KEY_UPDATE, context, self.hash_length)
