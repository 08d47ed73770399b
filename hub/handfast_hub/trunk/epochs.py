"""The keys of one epoch, and how they are derived.

    IKM  = lp("QKD" or "PQC") || lp(QKD key) || lp(ML-KEM shared secret) || lp(chain)
    PRK  = HKDF-Extract(salt = th, IKM)              SHA-384, RFC 5869
    each = HKDF-Expand(PRK, << label, << epoch >>, length >>, length)

lp(x) is x behind its length in 2 bytes, so no part can be taken for another. An epoch is secret
while any one of the QKD key, the shared secret and the chain is. `th` is the hash of everything
both hubs said to make the epoch, their identities and the policy version among it.
"""

import struct
from typing import NamedTuple

from handfast.core.cbor import encode
from handfast.core.kdf import expand, extract
from handfast.core.suites import SHA_384
from handfast.ports import Crypto
from handfast_hub.trunk.records import Receiving, Sending

KEY_LENGTH = 32
CHAIN_LENGTH = 48
EXPORTER_LENGTH = 48

# Labels of HKDF-Expand.
_INITIATOR, _RESPONDER, _CHAIN, _CONFIRM, _EXPORTER = 0, 1, 2, 3, 4
_FIRST_CHAIN = b"handfast trunk 1 chain"


class Secrets(NamedTuple):
    """What an epoch is derived into: a key for each direction, the next chain, a key for the proofs, and
    the exporter secret, from which keys for others are made (as in RFC 8446 section 7.5)."""

    initiator: bytes
    responder: bytes
    chain: bytes
    confirm: bytes
    exporter: bytes

    def __repr__(self) -> str:
        """Nothing of it: this may stand in a traceback."""
        return "Secrets(...)"


def first_chain(crypto: Crypto, pairing: bytes, lane: int) -> bytes:
    """The chain before the first epoch: out of the pairing secret that both operators entered."""
    return extract(crypto, SHA_384, _FIRST_CHAIN + bytes([lane]), pairing)


def derive(
    crypto: Crypto, th: bytes, qkd: bytes | None, shared_secret: bytes, chain: bytes, epoch: int
) -> Secrets:
    """The secrets of `epoch`. `qkd` is the QKD key, None for an epoch of ML-KEM and chain alone."""
    marker = b"PQC" if qkd is None else b"QKD"
    ikm = b"".join(struct.pack(">H", len(part)) + part for part in (marker, qkd or b"", shared_secret, chain))
    prk = extract(crypto, SHA_384, th, ikm)

    def secret(label: int, length: int) -> bytes:
        return expand(crypto, SHA_384, prk, label, encode(epoch), length)

    return Secrets(
        secret(_INITIATOR, KEY_LENGTH),
        secret(_RESPONDER, KEY_LENGTH),
        secret(_CHAIN, CHAIN_LENGTH),
        secret(_CONFIRM, CHAIN_LENGTH),
        secret(_EXPORTER, EXPORTER_LENGTH),
    )


def confirmation(crypto: Crypto, secrets: Secrets, role: bytes, th: bytes) -> bytes:
    """The proof of `role`, b"I" or b"R", that it has derived the epoch: 48 bytes."""
    return crypto.hmac(SHA_384, secrets.confirm, role + th)


class Made(NamedTuple):
    """A derived epoch: its number, what was hashed, its secrets; over how many ways its QKD key came, 0
    without one, and how many `secret` needs, 1 or 2. `th` covers both."""

    epoch: int
    th: bytes
    secrets: Secrets
    ways: int
    needed: int


class Epoch:
    """One epoch at one end, ready to seal and to open."""

    def __init__(self, crypto: Crypto, lane: int, made: Made, initiator: bool, now: float) -> None:
        keys = (made.secrets.initiator, made.secrets.responder)
        ours, theirs = keys if initiator else keys[::-1]
        self.number = made.epoch
        self.ways, self.needed = made.ways, made.needed
        self.hybrid = made.ways > 0
        self.sending = Sending(crypto, lane, made.epoch, ours, not self.hybrid)
        self.receiving = Receiving(crypto, lane, made.epoch, theirs, not self.hybrid)
        self.chain = made.secrets.chain
        # Only an epoch that `secret` may travel under has one to give; `take_exporter` forgets it.
        self._exporter = made.secrets.exporter if self.ways >= self.needed else None
        self.born = now
        # Its QKD key may be known to somebody; told by either end.
        self.suspect = False
        # When its receiving half goes, once it has a successor.
        self.ends: float | None = None

    @property
    def sound(self) -> bool:
        """Whether classes that fail closed may travel under it, as far as its QKD key goes."""
        return self.ways >= self.needed and not self.suspect

    def take_exporter(self) -> bytes | None:
        """The exporter secret, 48 bytes, at the first call and never again.

        None without a QKD key that is good enough for `secret`, and when that key is suspect: nothing is
        ever exported from such an epoch.
        """
        secret, self._exporter = self._exporter, None
        return None if self.suspect else secret
