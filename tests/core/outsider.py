"""What an attacker on the broker can write: he sees every payload and knows every public key, no more."""

from handfast.core import messages
from handfast.core.key_schedule import KeySchedule
from handfast.core.methods import Signatures
from handfast.core.suites import KEMS, SIGNATURES, suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.credentials import Identity
    from handfast.core.messages import Message1
    from handfast.ports import Crypto


def read_message_1(frame_1: bytes) -> "Message1":
    """The fields of a message_1 that passes by."""
    return messages.decode_message_1(messages.decode_frame(frame_1).message)


def frame_of(message_1: "Message1") -> bytes:
    """The payload of a message_1."""
    return messages.encode_frame(messages.Frame(None, messages.encode_message_1(message_1), None))


def forged_message_2(
    crypto: "Crypto",
    frame_1: bytes,
    id_cred_r: bytes,
    signer: "Identity | None" = None,
    randomness: int = 0x4D,
) -> bytes:
    """A message_2 to this message_1 by an encapsulation of his own: he knows every key of the session.

    It names `id_cred_r` and is signed by `signer`, or by nobody.
    """
    message_1 = read_message_1(frame_1)
    row = suite(message_1.suites_i[-1])
    schedule, c_r = KeySchedule(crypto, row), b"attacker"
    seed = bytes((randomness,)) * KEMS[row.kem].randomness
    g_y, g_xy = crypto.encapsulate(row.kem, message_1.g_x, seed)
    th_2 = schedule.th_2(g_y, messages.encode_message_1(message_1))
    prk_2e = schedule.prk_2e(th_2, g_xy)
    if signer is None:
        proof = bytes(SIGNATURES[row.signature].signature)
    else:
        proof = Signatures().authenticate_2(schedule, prk_2e, th_2, c_r, id_cred_r, signer, b"", bytes(32))
    plaintext = messages.encode_plaintext_2(messages.Plaintext2(c_r, id_cred_r, proof, []))
    message_2 = messages.encode_message_2(g_y, schedule.cipher_2(prk_2e, th_2, plaintext))
    return messages.encode_frame(messages.Frame(message_1.c_i, message_2, None))


def error_frame(c_x: bytes, code: int, info: object) -> bytes:
    """An error message; nothing in it is authenticated."""
    return messages.encode_frame(messages.Frame(c_x, None, messages.ErrorMessage(code, info)))
