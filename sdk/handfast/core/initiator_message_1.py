"""message_1 of the device, and how it is carried (RFC 9528 section 5.2). Needed until it was made."""

from handfast.core import messages, offer
from handfast.core.constants import WANT_KID, WANT_VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handfast.core.key_schedule import KeySchedule
    from handfast.core.token import Token


def make(
    schedule: "KeySchedule",
    method: int,
    suites_i: "tuple[int, ...]",
    g_x: bytes,
    c_i: bytes,
    hub_id: bytes,
    token: "Token | None",
    hub_known: bool,
) -> "tuple[bytes, bytes, Any]":
    """(frame of message_1, its hash for TH_2, G_X where it lies in the frame).

    `hub_id` 32 bytes; without `hub_known` the hub is asked for its credential by value.
    """
    message = messages.Message1(method, suites_i, g_x, c_i, [])
    if schedule.suite.mandatory_items:
        want = WANT_KID if hub_known else WANT_VALUE
        message = offer.with_gate(schedule.crypto, hub_id, token, want, message)
    message_1 = messages.encode_message_1(message)
    hash_1 = schedule.hash(message_1)
    frame = messages.encode_frame(messages.Frame(None, message_1, None))
    # Once and not twice: it is sent again, and other methods than ours compute with G_X.
    at = frame.find(g_x)
    return frame, hash_1, memoryview(frame)[at : at + len(g_x)]
