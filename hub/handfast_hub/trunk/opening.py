"""The first epoch of a lane: two hubs prove who they are, and derive keys that nobody else has.

    I -> R   OPEN     nonce_I, ek, key_ID, its ways, CRED_I, ways for secret, gate
    R -> I   ACCEPT   nonce_R, ct, key_ID or null, CRED_R, ways for secret, sig_R, mac_R, gate
    I -> R   CONFIRM  sig_I, mac_I

A SIGMA exchange with ML-KEM-768 in the place of Diffie-Hellman: each hub signs the hash of all that
was said, both identities in it, and proves by a MAC that it has derived the epoch. The hub with the
lower hub_id is the initiator. The pairing secret, entered at both hubs by their operators, is the
first chain, and makes the gate of OPEN and of ACCEPT: who does not know it costs either end two
HMACs and no more.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from handfast.core.cbor import encode, encode_sequence
from handfast.core.credentials import Identity, decode_ccs
from handfast.core.errors import AuthenticationError, DecodeError, RefusedError
from handfast.core.kdf import extract
from handfast.core.suites import KEMS, ML_KEM_768, SHA_384, SIGNATURES
from handfast.ports import Crypto
from handfast_hub.trunk.epochs import Made, Secrets, confirmation, derive, first_chain
from handfast_hub.trunk.messages import ACCEPT, CONFIRM, NONCE_LENGTH, OPEN, encode_message
from handfast_hub.trunk.policy import POLICY_VERSION

_PROTOCOL = "handfast-trunk-1"


class Peer(NamedTuple):
    """The hub at the other end: its hub_id and the pairing secret, 32 bytes each."""

    hub_id: bytes
    pairing: bytes

    def __repr__(self) -> str:
        """Nothing of it: this may stand in a traceback."""
        return "Peer(...)"


class Party(NamedTuple):
    """What one end of a lane works with. `random(n)` gives n bytes."""

    crypto: Crypto
    random: Callable[[int], bytes]
    identity: Identity
    peer: Peer
    lane: int
    # Over how many ways the QKD key of an epoch must have come for `secret`; the hub that wants more is
    # obeyed by both.
    secret_ways: int = 1

    def hub_ids(self) -> tuple[bytes, bytes]:
        """The hub_id of the initiator, then that of the responder."""
        first, second = sorted((self.identity.credential.thumbprint, self.peer.hub_id))
        return first, second

    def hash(self, *said: object) -> bytes:
        """SHA-384 over what was said, behind everything that both ends must agree on."""
        about = (_PROTOCOL, self.lane, POLICY_VERSION, *self.hub_ids())
        return self.crypto.hash(SHA_384, encode_sequence(*about, *said))


class Opening:
    """The initiator's side: `message` is OPEN; `accept` takes the answer and gives CONFIRM."""

    def __init__(
        self, party: Party, epoch: int, key_id: bytes | None, qkd: bytes | None, ways: int = 1
    ) -> None:
        """`ways`: how many the key came over."""
        self._party = party
        self._ways = ways
        self._epoch = epoch
        self._key_id = key_id
        self._qkd = qkd
        self._seed = party.random(KEMS[ML_KEM_768].seed)
        fields = (
            party.lane,
            POLICY_VERSION,
            party.random(NONCE_LENGTH),
            epoch,
            key_id,
            party.crypto.kem_public_key(ML_KEM_768, self._seed),
            party.identity.credential.encoded,
            ways,
            party.secret_ways,
        )
        self.message = encode_message(OPEN, *fields, _gate(party, fields))

    def accept(self, fields: list[Any]) -> tuple[Made, bytes]:
        """The epoch and the CONFIRM of an ACCEPT; RefusedError for another hub than the pinned one."""
        party = self._party
        if not gate_is_right(party, fields, self.message):
            raise AuthenticationError
        lane, nonce, epoch, key_id, ct, cred, needed, signature, mac, _ = fields
        if lane != party.lane or epoch < self._epoch or key_id not in (None, self._key_id):
            raise DecodeError("an ACCEPT answers the lane, an epoch not below ours and our key_ID")
        th = party.hash(self.message, [nonce, epoch, key_id, ct, cred, needed])
        _verify(party, "R", th, cred, signature)
        qkd = None if key_id is None else self._qkd
        shared_secret = party.crypto.decapsulate(ML_KEM_768, self._seed, ct)
        chain = first_chain(party.crypto, party.peer.pairing, party.lane)
        secrets = derive(party.crypto, th, qkd, shared_secret, chain, epoch)
        check_confirmation(party.crypto, secrets, b"R", th, mac)
        confirm = encode_message(
            CONFIRM, lane, epoch, _sign(party, "I", th), confirmation(party.crypto, secrets, b"I", th)
        )
        ways = 0 if qkd is None else self._ways
        return Made(epoch, th, secrets, ways, max(needed, party.secret_ways)), confirm


class Accepting:
    """The responder's side: made from an OPEN that passed `gate_is_right`; then `answer`, `confirm`."""

    def __init__(self, party: Party, raw: bytes, fields: list[Any]) -> None:
        self._party = party
        self._raw = raw
        self._key_id = fields[4]
        self._proposed = fields[3]
        self._ek = fields[5]
        self._cred = fields[6]
        self._ways, self._needed = fields[7], max(fields[8], party.secret_ways)
        self.made: Made | None = None
        self.message = b""

    def answer(self, epoch: int, qkd: bytes | None) -> int:
        """Derive the epoch, not below `epoch`, and make `message`; its number. Once.

        Without the QKD key that was offered the epoch is one of ML-KEM alone, and both ends know it.
        """
        party = self._party
        number: int = max(epoch, self._proposed)
        key_id = self._key_id if qkd is not None else None
        ct, shared_secret = party.crypto.encapsulate(
            ML_KEM_768, self._ek, party.random(KEMS[ML_KEM_768].randomness)
        )
        nonce, cred = party.random(NONCE_LENGTH), party.identity.credential.encoded
        needed = party.secret_ways
        th = party.hash(self._raw, [nonce, number, key_id, ct, cred, needed])
        chain = first_chain(party.crypto, party.peer.pairing, party.lane)
        secrets = derive(party.crypto, th, qkd, shared_secret, chain, number)
        self.made = Made(number, th, secrets, 0 if qkd is None else self._ways, self._needed)
        mac = confirmation(party.crypto, secrets, b"R", th)
        fields = (party.lane, nonce, number, key_id, ct, cred, needed, _sign(party, "R", th), mac)
        self.message = encode_message(ACCEPT, *fields, _gate(party, fields, self._raw))
        return number

    def confirm(self, fields: list[Any]) -> Made:
        """The epoch, once a CONFIRM proves that it is the pinned hub that has it."""
        lane, epoch, signature, mac = fields
        assert self.made is not None
        if lane != self._party.lane or epoch != self.made.epoch:
            raise DecodeError("a CONFIRM answers the lane and the epoch of its ACCEPT")
        # The MAC first: it is the cheaper of the two.
        check_confirmation(self._party.crypto, self.made.secrets, b"I", self.made.th, mac)
        _verify(self._party, "I", self.made.th, self._cred, signature)
        return self.made


def gate_is_right(party: Party, fields: list[Any], answered: bytes = b"") -> bool:
    """Whether an OPEN, or the ACCEPT of the OPEN `answered`, comes from somebody with the pairing secret.

    Costs two HMACs and nothing else.
    """
    return party.crypto.equal(fields[-1], _gate(party, tuple(fields[:-1]), answered))


def check_confirmation(crypto: Crypto, secrets: Secrets, role: bytes, th: bytes, mac: bytes) -> None:
    """AuthenticationError unless `mac` is the proof of `role`."""
    if not crypto.equal(confirmation(crypto, secrets, role, th), mac):
        raise AuthenticationError


def _gate(party: Party, fields: tuple[object, ...], answered: bytes = b"") -> bytes:
    key = extract(party.crypto, SHA_384, b"handfast trunk 1 gate", party.peer.pairing)
    return party.crypto.hmac(SHA_384, key, encode([*party.hub_ids(), answered, *fields]))


def _sign(party: Party, role: str, th: bytes) -> bytes:
    algorithm = party.identity.credential.algorithm
    randomness = party.random(SIGNATURES[algorithm].randomness)
    return party.crypto.sign(algorithm, party.identity.seed, encode([_PROTOCOL, role, th]), randomness)


def _verify(party: Party, role: str, th: bytes, cred: bytes, signature: bytes) -> None:
    credential = decode_ccs(party.crypto, cred)
    if not party.crypto.equal(credential.thumbprint, party.peer.hub_id):
        raise RefusedError(
            f"the other end of this trunk is the hub {credential.thumbprint.hex()}, "
            f"and not {party.peer.hub_id.hex()}, which is pinned; compare the hub codes"
        )
    signed = encode([_PROTOCOL, role, th])
    if not party.crypto.verify(credential.algorithm, credential.public_key, signed, signature):
        raise AuthenticationError
