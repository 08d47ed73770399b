"""Method 3 of RFC 9528 for tests: static Diffie-Hellman keys on both sides, MACs for signatures.

Same number, functions and arguments as `handfast.core.methods.Signatures`, so the product's own
machines run it when a test hands it in. The Crypto must be a `classic.ClassicCrypto`.
"""

from handfast.core.errors import AuthenticationError
from handfast.core.key_schedule import context_2, context_3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.credentials import Credential, Identity
    from handfast.core.key_schedule import KeySchedule


class StaticDh:
    """MACs as long as the suite says (RFC 9528 section 5.3.2: 8 bytes with suite 2)."""

    number = 3

    def prk_3e2m(
        self,
        schedule: "KeySchedule",
        prk_2e: bytes,
        th_2: bytes,
        g_x: bytes,
        credential_r: "Credential",
        seed_r: "bytes | None",
    ) -> bytes:
        g_rx = _shared(schedule, g_x, credential_r, seed_r)
        return schedule.extract(schedule.salt_3e2m(prk_2e, th_2), g_rx)

    def prk_4e3m(
        self,
        schedule: "KeySchedule",
        prk_3e2m: bytes,
        th_3: bytes,
        g_y: bytes,
        credential_i: "Credential",
        seed_i: "bytes | None",
    ) -> bytes:
        g_iy = _shared(schedule, g_y, credential_i, seed_i)
        return schedule.extract(schedule.salt_4e3m(prk_3e2m, th_3), g_iy)

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
        context = context_2(c_r, id_cred_r, th_2, identity_r.credential.encoded, ead_2)
        return schedule.mac_2(prk_3e2m, context, schedule.suite.mac_length)

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
        context = context_2(c_r, id_cred_r, th_2, credential_r.encoded, ead_2)
        _compare(schedule, schedule.mac_2(prk_3e2m, context, schedule.suite.mac_length), signature_or_mac_2)

    def authenticate_3(
        self,
        schedule: "KeySchedule",
        prk_4e3m: bytes,
        th_3: bytes,
        id_cred_i: bytes,
        identity_i: "Identity",
        ead_3: bytes,
        randomness: bytes,
    ) -> bytes:
        context = context_3(id_cred_i, th_3, identity_i.credential.encoded, ead_3)
        return schedule.mac_3(prk_4e3m, context, schedule.suite.mac_length)

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
        context = context_3(id_cred_i, th_3, credential_i.encoded, ead_3)
        _compare(schedule, schedule.mac_3(prk_4e3m, context, schedule.suite.mac_length), signature_or_mac_3)


def _shared(
    schedule: "KeySchedule", ephemeral: bytes, credential: "Credential", seed: "bytes | None"
) -> bytes:
    """The owner of the static key computes with it, the other side with its ephemeral one."""
    curve = schedule.suite.kem
    if seed is None:
        return schedule.crypto.ephemeral_shared(curve, ephemeral, credential.public_key)
    return schedule.crypto.shared_secret(curve, seed, ephemeral)


def _compare(schedule: "KeySchedule", expected: bytes, received: bytes) -> None:
    if not schedule.crypto.equal(expected, received):
        raise AuthenticationError
