"""What message_1 offers, made by one side and judged by the other: the GATE item and the suites.

Both judgements come before any public-key operation: GATE costs one hash, the suites nothing
(docs/protocol.md, the hub's order of work).
"""

from handfast.core import ead
from handfast.core.constants import GATE_BY_HUB_ID, GATE_BY_TOKEN
from handfast.core.errors import AuthenticationError, DecodeError, UnsupportedSuiteError
from handfast.core.messages import Message1, encode_message_1
from handfast.core.suites import KEMS, Suite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.methods import Profile
    from handfast.core.token import Token
    from handfast.ports import Crypto


def with_gate(
    crypto: "Crypto", hub_id: bytes, token: "Token | None", want: int, message_1: Message1
) -> Message1:
    """`message_1` with its GATE item: of kind 1 when there is a token. `want` is WANT_KID or WANT_VALUE."""
    method, suites_i, g_x, c_i, _ = message_1
    sequence = encode_message_1(Message1(method, suites_i, g_x, c_i, []))
    mac = ead.gate_mac(crypto, ead.gate_key(crypto, hub_id, token), sequence)
    if token is None:
        gate = ead.Gate(GATE_BY_HUB_ID, want, mac, None)
    else:
        gate = ead.Gate(GATE_BY_TOKEN, want, mac, token.token_id)
    return Message1(method, suites_i, g_x, c_i, [ead.encode_gate(gate)])


def check_gate(crypto: "Crypto", key: bytes, gate: "ead.Gate", sequence: bytes) -> None:
    """AuthenticationError unless GATE was made with K_gate `key` (32 bytes) for message_1.

    `sequence` is message_1 without EAD_1, as it came.
    """
    if not crypto.equal(ead.gate_mac(crypto, key, sequence), gate.mac):
        raise AuthenticationError


def choose_suite(profile: "Profile", suites: "tuple[int, ...]", message_1: Message1) -> "Suite":
    """The row of the selected suite (RFC 9528 section 5.2.3); `suites` are those that we take.

    UnsupportedSuiteError with ours when the selected one is not the first of SUITES_I that we take:
    whoever passed over a better one is being led to a weaker one. DecodeError for another method and
    for a G_X that is no key of the suite by its length.
    """
    if message_1.method != profile.method.number:
        raise DecodeError(
            "method %d is asked for, only %d is served" % (message_1.method, profile.method.number)
        )
    selected = message_1.suites_i[-1]
    if [number for number in message_1.suites_i if number in suites][:1] != [selected]:
        text = "suite %d was selected, this hub takes %s" % (selected, list(suites))
        raise UnsupportedSuiteError(text, suites)
    row: Suite = profile.suites[selected]
    expected = KEMS[row.kem].public_key
    if len(message_1.g_x) != expected:
        raise DecodeError("G_X has %d bytes, %d came" % (expected, len(message_1.g_x)))
    return row
