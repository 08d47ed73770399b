"""What an Initiator does when it trusts the hub: it verifies message_2 and signs message_3 (RFC 9528).

Both functions work on an Initiator. No module of messages is loaded while a signature is made or verified.
"""

from handfast.core import errors, sealed_messages
from handfast.core.credentials import Identity, kept
from handfast.core.suites import AEADS, SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.credentials import Credential


def verify_message_2(machine: "Any", credential: "Credential") -> None:
    """AuthenticationError unless it is of `credential`; PeerError when what it authenticates must not be."""
    if machine._suite.mandatory_items and not machine._crypto.equal(credential.thumbprint, machine._hub_id):
        raise errors.AuthenticationError("the credential is not that of the pinned hub")
    same = credential.thumbprint == machine._thumbprint
    if same and credential.public_key == machine._identity.credential.public_key:
        # RFC 9528 section 9.1: a reflected credential would be a session with ourselves.
        raise errors.DecodeError("the hub presents our own credential")
    schedule, th_2, plaintext = machine._schedule, machine._th_2, machine._received_2
    prk_3e2m = machine._method.prk_3e2m(schedule, machine._prk_2e, th_2, machine._g_x, credential, None)
    ead_2, proof = _encoded_ead_2(plaintext.ead_2), plaintext.signature_or_mac_2
    machine._method.verify_2(
        schedule, prk_3e2m, th_2, plaintext.c_r, plaintext.id_cred_r, credential, ead_2, proof
    )
    machine._prk_3e2m = prk_3e2m
    _check_ead_2(plaintext.ead_2)


def make_message_3(machine: "Any", credential: "Credential", now: float) -> None:
    """Sign and seal it, in the memory of message_2 where there is one; erase what it was made of."""
    schedule = machine._schedule
    own, c_r = machine._identity.credential, machine._received_2.c_r
    th_3 = schedule.th_3(machine._th_2, machine._plaintext_2, credential.encoded)
    seed, g_y = machine._identity.seed, machine._g_y
    prk_4e3m = machine._method.prk_4e3m(schedule, machine._prk_3e2m, th_3, g_y, own, seed)
    del g_y
    if machine._memory is not None:
        # message_3 is made in the memory of message_2, which nothing reads any more. Nor is message_1
        # sent again: the right message_2 has come.
        credential = kept(credential)
        machine._received_2, machine._plaintext_2, machine._g_x = None, b"", b""
        machine._resend.rest()
    ead_3 = machine._ead_3(th_3) if machine._suite.mandatory_items else b""
    row = SIGNATURES.get(machine._suite.signature)
    randomness = machine._random(32 if row is None else row.randomness)
    text: "Any"
    if machine._memory is not None and row is not None:
        frame, room, named, place, own = sealed_messages.laid_out_3(
            schedule, own, machine._by_kid, c_r, ead_3, machine._memory
        )
        identity = Identity(seed, own)
        machine._method.authenticate_3(schedule, prk_4e3m, th_3, named, identity, ead_3, randomness, place)
        text = room[: -AEADS[machine._suite.aead].tag_length]
    else:
        identity = Identity(seed, own)
        frame, plaintext_3, room = sealed_messages.signed_3(
            schedule, machine._method, identity, machine._by_kid, (prk_4e3m, th_3), c_r, ead_3, randomness
        )
        text = bytes(plaintext_3)
    th_4 = schedule.th_4(th_3, text, own.encoded)
    sealing_3 = sealed_messages.sealing_3(schedule, machine._prk_3e2m, th_3)
    sealed_messages.seal_in_place(schedule, sealing_3, room)
    machine._sealing_4 = sealed_messages.sealing_4(schedule, prk_4e3m, th_4)
    machine._prk_exporter = schedule.prk_exporter(schedule.prk_out(prk_4e3m, th_4))
    machine._hub_credential = credential
    machine._unverified = 0
    # Erased before message_3 leaves: whoever takes the device from here on learns nothing of
    # message_2 and message_3.
    machine._kem_seed = machine._prk_2e = machine._prk_3e2m = machine._plaintext_2 = machine._g_y = b""
    machine._received_2 = None
    machine._send(frame if machine._memory else bytes(frame), now)
    machine._memory = None
    machine.state = machine._after("accept")


def _encoded_ead_2(items: "list[tuple[int, bytes | None]]") -> bytes:
    from handfast.core import initiator_message_2

    return initiator_message_2.encoded_ead(items)


def _check_ead_2(items: "list[tuple[int, bytes | None]]") -> None:
    from handfast.core import initiator_message_2

    initiator_message_2.check_ead(items)
