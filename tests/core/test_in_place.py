"""A device with little memory reads message_2 where it came and makes message_3 over it, the same bytes."""

from host_crypto import crypto
from in_place_crypto import InPlaceCrypto
from outsider import forged_message_2
from pair import TOKEN, Pair
from refusal import refused

from handfast.core import states
from handfast.core.cbor import encode
from handfast.core.constants import CLAIM_CNF, CLAIM_SUB, HEADER_KCCS
from handfast.core.errors import DecodeError


class InPlacePair(Pair):
    """A pair whose device is given views of its payloads."""

    def call(self, who: str, what: str, now: float = 0.0) -> None:
        if who == "initiator" and what.startswith("message"):
            self.frames[-1] = memoryview(bytearray(self.frames[-1]))
        super().call(who, what, now)


def test_the_messages_are_those_of_a_machine_that_copies() -> None:
    for number in (-21, -22):
        for by_kid in (False, True):
            pairs = (
                Pair(crypto, number, hub_suites=(number,), token=TOKEN, by_kid=by_kid),
                InPlacePair(InPlaceCrypto(crypto), number, hub_suites=(number,), token=TOKEN, by_kid=by_kid),
            )
            sent = []
            for pair in pairs:
                frames = []
                for _ in range(10):
                    pair.once()
                    # Taken at once: message_3 will stand where message_2 was.
                    if len(pair.frames) > len(frames):
                        frames.append(bytes(pair.frames[-1]))
                sent.append(frames)
            assert sent[0] == sent[1] and len(sent[0]) == 4
            keys = [pair.device_events[-1].keys for pair in pairs]
            assert keys[0] == keys[1] and pairs[1].initiator.state == states.ESTABLISHED


def test_a_credential_of_any_form_is_refused_where_it_lies_and_the_genuine_message_2_still_counts() -> None:
    pair = InPlacePair(InPlaceCrypto(crypto), token=TOKEN)
    while pair.due != ("initiator", "message_2"):
        pair.once()
    for subject in ({b"key": b"value"}, {b"key": {b"key": [b"key"]}}, [{b"key": 1}]):
        id_cred = encode({HEADER_KCCS: {CLAIM_SUB: subject, CLAIM_CNF: {1: {}}}})
        forged = forged_message_2(crypto, pair.frames[0], id_cred)
        refused(DecodeError, pair.initiator.receive, memoryview(bytearray(forged)), 0.0)
        assert pair.initiator.state == states.WAIT_MESSAGE_2
    while pair.initiator.state != states.ESTABLISHED:
        pair.once()
