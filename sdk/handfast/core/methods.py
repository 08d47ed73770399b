"""How a peer proves who it is: EDHOC's authentication methods (RFC 9528 section 3.2).

A machine holds one method object, so the flow of messages does not know what authenticates it.
This file has the only method of handfast, signatures on both sides. An object of another method
has the same number, functions and arguments; PRK_3e2m and PRK_4e3m are where they would differ.

`seed_x` is given by the side that owns the static key and is None on the other side, which knows
only the credential. `id_cred`, `credential.encoded` and `ead` are encoded bytes that go in
unchanged; `ead` is b"" when absent.
"""

from collections import namedtuple

from handfast.core.cose import sig_structure
from handfast.core.errors import AuthenticationError, LocalError
from handfast.core.key_schedule import context_2, context_3
from handfast.core.suites import SUITES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.credentials import Credential, Identity
    from handfast.core.key_schedule import KeySchedule


class Signatures:
    """Method 0: signature keys on both sides. MACs are as long as the hash (section 5.3.2)."""

    number = 0

    def prk_3e2m(
        self,
        schedule: "KeySchedule",
        prk_2e: bytes,
        th_2: bytes,
        g_x: bytes,
        credential_r: "Credential",
        seed_r: "bytes | None",
    ) -> bytes:
        """PRK_2e: a signature adds no secret (section 4.1.1.2)."""
        return prk_2e

    def prk_4e3m(
        self,
        schedule: "KeySchedule",
        prk_3e2m: bytes,
        th_3: bytes,
        g_y: bytes,
        credential_i: "Credential",
        seed_i: "bytes | None",
    ) -> bytes:
        """PRK_3e2m: a signature adds no secret (section 4.1.1.3)."""
        return prk_3e2m

    def authenticate_2(
        self,
        schedule: "KeySchedule",
        prk_3e2m: bytes,
        th_2: bytes,
        c_r: bytes,
        id_cred_r: bytes,
        identity_r: "Identity",
        ead_2: bytes,
        randomness: bytes,
    ) -> bytes:
        """Signature_or_MAC_2. `randomness` is what the signature scheme takes (ML-DSA: 32 bytes).

        LocalError when the key of the identity is not for the signature algorithm of the suite.
        """
        cred_r = identity_r.credential.encoded
        mac = self._mac_2(schedule, prk_3e2m, th_2, c_r, id_cred_r, cred_r, ead_2)
        message = schedule.joined(sig_structure(id_cred_r, th_2, cred_r, ead_2, mac))
        return _sign(schedule, identity_r, message, randomness)

    def verify_2(
        self,
        schedule: "KeySchedule",
        prk_3e2m: bytes,
        th_2: bytes,
        c_r: bytes,
        id_cred_r: bytes,
        credential_r: "Credential",
        ead_2: bytes,
        signature_or_mac_2: bytes,
    ) -> None:
        """AuthenticationError unless Signature_or_MAC_2 was made with the key of `credential_r`."""
        cred_r = credential_r.encoded
        mac = self._mac_2(schedule, prk_3e2m, th_2, c_r, id_cred_r, cred_r, ead_2)
        message = schedule.joined(sig_structure(id_cred_r, th_2, cred_r, ead_2, mac))
        _verify(schedule, credential_r, message, signature_or_mac_2)

    def authenticate_3(
        self,
        schedule: "KeySchedule",
        prk_4e3m: bytes,
        th_3: bytes,
        id_cred_i: bytes,
        identity_i: "Identity",
        ead_3: bytes,
        randomness: bytes,
        into: "memoryview | None" = None,
    ) -> bytes:
        """Signature_or_MAC_3; see authenticate_2. `into` is where it shall stand, of its length."""
        cred_i = identity_i.credential.encoded
        mac = self._mac_3(schedule, prk_4e3m, th_3, id_cred_i, cred_i, ead_3)
        message = schedule.joined(sig_structure(id_cred_i, th_3, cred_i, ead_3, mac))
        return _sign(schedule, identity_i, message, randomness, into)

    def verify_3(
        self,
        schedule: "KeySchedule",
        prk_4e3m: bytes,
        th_3: bytes,
        id_cred_i: bytes,
        credential_i: "Credential",
        ead_3: bytes,
        signature_or_mac_3: bytes,
    ) -> None:
        """AuthenticationError unless Signature_or_MAC_3 was made with the key of `credential_i`."""
        cred_i = credential_i.encoded
        mac = self._mac_3(schedule, prk_4e3m, th_3, id_cred_i, cred_i, ead_3)
        message = schedule.joined(sig_structure(id_cred_i, th_3, cred_i, ead_3, mac))
        _verify(schedule, credential_i, message, signature_or_mac_3)

    def _mac_2(
        self,
        schedule: "KeySchedule",
        prk_3e2m: bytes,
        th_2: bytes,
        c_r: bytes,
        id_cred_r: bytes,
        cred_r: bytes,
        ead_2: bytes,
    ) -> bytes:
        context = context_2(c_r, id_cred_r, th_2, cred_r, ead_2)
        return schedule.mac_2(prk_3e2m, context, schedule.hash_length)

    def _mac_3(
        self,
        schedule: "KeySchedule",
        prk_4e3m: bytes,
        th_3: bytes,
        id_cred_i: bytes,
        cred_i: bytes,
        ead_3: bytes,
    ) -> bytes:
        context = context_3(id_cred_i, th_3, cred_i, ead_3)
        return schedule.mac_3(prk_4e3m, context, schedule.hash_length)


def _sign(
    schedule: "KeySchedule",
    identity: "Identity",
    message: bytes,
    randomness: bytes,
    into: "memoryview | None" = None,
) -> bytes:
    algorithm = schedule.suite.signature
    if identity.credential.algorithm != algorithm:
        raise LocalError(
            "suite %d signs with algorithm %d, our key is for %d"
            % (schedule.suite.number, algorithm, identity.credential.algorithm)
        )
    crypto: "Any" = schedule.crypto
    given = (randomness,) if into is None else (randomness, into)
    signature: bytes = crypto.sign(algorithm, identity.seed, message, *given)
    return signature


def _verify(schedule: "KeySchedule", credential: "Credential", message: bytes, signature: bytes) -> None:
    algorithm = schedule.suite.signature
    # A key is bound to its algorithm (RFC 9964 section 3): no other suite may borrow it.
    crypto, public_key = schedule.crypto, credential.public_key
    if credential.algorithm != algorithm or not crypto.verify(algorithm, public_key, message, signature):
        raise AuthenticationError


# What a machine may negotiate: `suites` is a table like suites.SUITES, `method` an object like
# Signatures. Tests bring others, to meet foreign peers; no program of ours takes one as an option.
Profile = namedtuple("Profile", ("suites", "method"))
PRODUCTION = Profile(SUITES, Signatures())
