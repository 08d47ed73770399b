"""message_3 and message_4: the two that an AEAD seals (RFC 9528 sections 5.4 and 5.5).

Each has a key and a nonce of its own, for one plaintext: whoever seals, seals once in a session and
keeps the bytes to send them again.
"""

from collections import namedtuple

from handfast.core.cbor import head_of_bytes
from handfast.core.cose import enc_structure
from handfast.core.credentials import encode_id_cred_field, id_cred_by_kid, id_cred_in_pieces, moved
from handfast.core.hidden import Hidden
from handfast.core.suites import AEADS, SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.credentials import Credential, Identity
    from handfast.core.key_schedule import KeySchedule
    from handfast.core.methods import Signatures


class Sealing(Hidden, namedtuple("Sealing", ("key", "nonce", "aad"))):
    """What seals and opens one message: its key and nonce are secret, aad is the Enc_structure with TH_x."""

    __slots__ = ()


# What a session has before it has keys, and when it has forgotten them.
NO_KEYS = Sealing(b"", b"", b"")


def sealing_3(schedule: "KeySchedule", prk_3e2m: bytes, th_3: bytes) -> Sealing:
    """K_3, IV_3 and the Enc_structure of message_3."""
    return Sealing(schedule.k_3(prk_3e2m, th_3), schedule.iv_3(prk_3e2m, th_3), enc_structure(b"", th_3))


def sealing_4(schedule: "KeySchedule", prk_4e3m: bytes, th_4: bytes) -> Sealing:
    """K_4, IV_4 and the Enc_structure of message_4."""
    return Sealing(schedule.k_4(prk_4e3m, th_4), schedule.iv_4(prk_4e3m, th_4), enc_structure(b"", th_4))


def seal(schedule: "KeySchedule", sealing: Sealing, plaintext: bytes) -> bytes:
    """CIPHERTEXT_3 or CIPHERTEXT_4."""
    return schedule.crypto.seal(schedule.suite.aead, sealing.key, sealing.nonce, sealing.aad, plaintext)


def seal_in_place(schedule: "KeySchedule", sealing: Sealing, text: memoryview) -> None:
    """`text` is a plaintext with room for a tag behind it, and then the ciphertext."""
    crypto, algorithm = schedule.crypto, schedule.suite.aead
    own = getattr(crypto, "seal_in_place", None)
    if own is not None:
        own(algorithm, sealing.key, sealing.nonce, sealing.aad, text)
    else:
        tag = AEADS[algorithm].tag_length
        text[:] = seal(schedule, sealing, bytes(text[:-tag]))


def signed_3(
    schedule: "KeySchedule",
    method: "Signatures",
    identity: "Identity",
    by_kid: bool,
    to_sign: "tuple[bytes, bytes]",
    c_r: bytes,
    ead_3: bytes,
    randomness: bytes,
) -> "tuple[memoryview, memoryview, memoryview]":
    """The frame of message_3 before it is sealed, PLAINTEXT_3 in it, and that with room for the tag.

    `to_sign` is (PRK_4e3m, TH_3), `randomness` what the signature scheme takes. LocalError when the key of
    `identity` is not for the suite.
    """
    own, tag = identity.credential, AEADS[schedule.suite.aead].tag_length
    id_cred_i = b"".join([bytes(piece) for piece in id_cred_in_pieces(own, by_kid)])
    proof = method.authenticate_3(schedule, *to_sign, id_cred_i, identity, ead_3, randomness)
    fields = encode_id_cred_field(id_cred_i), head_of_bytes(len(proof)), proof
    frame, room = _frame(None, c_r, fields + (ead_3, tag))
    return frame, room[:-tag], room


def laid_out_3(
    schedule: "KeySchedule",
    own: "Credential",
    by_kid: bool,
    c_r: bytes,
    ead_3: bytes,
    memory: memoryview,
) -> "tuple[memoryview, memoryview, Any, memoryview, Credential]":
    """The same where message_2 was, before it is signed: (frame, PLAINTEXT_3 with room for the tag,
    ID_CRED_I, room for the signature, our credential).

    Every part is there once: by value ID_CRED_I and the credential are views of the frame, and the one that
    was given can be let go. Should anything fail, another message_2 has to come.
    """
    tag = AEADS[schedule.suite.aead].tag_length
    length = SIGNATURES[schedule.suite.signature].signature
    pieces: "Any" = id_cred_in_pieces(own, by_kid)
    if by_kid:
        pieces = (encode_id_cred_field(pieces[0]),)
    head = head_of_bytes(length)
    frame, room = _frame(memory, c_r, pieces + (head, length, ead_3, tag))
    at = sum([len(piece) for piece in pieces])
    named: "Any" = id_cred_by_kid(own) if by_kid else room[:at]
    if not by_kid:
        own = moved(own, named[len(pieces[0]) :])
    at += len(head)
    return frame, room, named, room[at : at + length], own


def _frame(
    memory: "memoryview | None", c_r: bytes, pieces: "tuple[bytes | int, ...]"
) -> "tuple[memoryview, memoryview]":
    # Here and not at the top: while a signature is made a small board has let go of it.
    from handfast.core.messages import frame_in_place

    return frame_in_place(memory, c_r, pieces)


def open_sealed(schedule: "KeySchedule", sealing: Sealing, ciphertext: bytes) -> bytes:
    """PLAINTEXT_3 or PLAINTEXT_4; AuthenticationError when anything differs."""
    return schedule.crypto.open(schedule.suite.aead, sealing.key, sealing.nonce, sealing.aad, ciphertext)
