"""Every later epoch of a lane: a new QKD key, a new ML-KEM secret, the chain of the epoch before.

    I -> R   REKEY    epoch, key_ID, ek, ways   in a record of the epoch before
    R -> I   REKEYED  epoch, ct, mac_R          in a record of the epoch before
    I -> R   PROVEN   epoch, mac_I              in the first record of the new epoch
    R -> I   SETTLED  epoch                     in a record of the new epoch

Make before break: both ends go on in the old epoch until they have opened a record of the new one,
and only that moves the chain. So a lost answer never leaves them with different chains. A number is
used for one attempt and never again.
"""

from typing import Any

from handfast.core.errors import DecodeError
from handfast.core.suites import KEMS, ML_KEM_768
from handfast_hub.trunk.epochs import Epoch, Made, confirmation, derive
from handfast_hub.trunk.messages import PROVEN, REKEY, REKEYED, encode_message
from handfast_hub.trunk.opening import Party, check_confirmation


class Rekeying:
    """The initiator's side: `message` is REKEY; `answer` takes REKEYED and gives PROVEN."""

    def __init__(
        self, party: Party, epoch: int, key_id: bytes | None, qkd: bytes | None, ways: int, before: Epoch
    ) -> None:
        """`ways`: how many the QKD key came over."""
        self._party = party
        self.epoch = epoch
        self._qkd = qkd
        self._ways, self._needed = (0 if qkd is None else ways), before.needed
        self._chain = before.chain
        self._seed = party.random(KEMS[ML_KEM_768].seed)
        ek = party.crypto.kem_public_key(ML_KEM_768, self._seed)
        self.message = encode_message(REKEY, epoch, key_id, ek, ways)

    def answer(self, fields: list[Any]) -> tuple[Made, bytes]:
        """The new epoch and PROVEN; AuthenticationError when the two ends derived different keys."""
        epoch, ct, mac = fields
        if epoch != self.epoch:
            raise DecodeError(f"a REKEYED answers epoch {self.epoch}, not {epoch}")
        party = self._party
        th = party.hash(self.message, ct)
        shared_secret = party.crypto.decapsulate(ML_KEM_768, self._seed, ct)
        secrets = derive(party.crypto, th, self._qkd, shared_secret, self._chain, self.epoch)
        check_confirmation(party.crypto, secrets, b"R", th, mac)
        proven = encode_message(PROVEN, self.epoch, confirmation(party.crypto, secrets, b"I", th))
        return Made(self.epoch, th, secrets, self._ways, self._needed), proven


class Rekeyed:
    """The responder's side of one REKEY: `message` is REKEYED, made once and repeated as it is."""

    def __init__(self, party: Party, raw: bytes, fields: list[Any], qkd: bytes | None, before: Epoch) -> None:
        """`raw` is the REKEY, `qkd` the key that its key_ID names; None only when it names none."""
        epoch, _, ek, ways = fields
        self._crypto = party.crypto
        ct, shared_secret = party.crypto.encapsulate(
            ML_KEM_768, ek, party.random(KEMS[ML_KEM_768].randomness)
        )
        th = party.hash(raw, ct)
        secrets = derive(party.crypto, th, qkd, shared_secret, before.chain, epoch)
        self.made = Made(epoch, th, secrets, 0 if qkd is None else ways, before.needed)
        self.message = encode_message(REKEYED, epoch, ct, confirmation(party.crypto, secrets, b"R", th))

    def prove(self, fields: list[Any]) -> Made:
        """The new epoch, once PROVEN shows that the initiator has derived it too."""
        epoch, mac = fields
        if epoch != self.made.epoch:
            raise DecodeError(f"a PROVEN stands in epoch {self.made.epoch}, not {epoch}")
        check_confirmation(self._crypto, self.made.secrets, b"I", self.made.th, mac)
        return self.made
