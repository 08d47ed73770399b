"""Peers with a good key that do not keep the rules: what they send is authentic and wrong."""

from handfast.core import messages
from handfast.core.initiator import Initiator
from handfast.core.responder import Responder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Items = list[tuple[int, bytes | None]]


def device_that(change: "Callable[[Items], Items]") -> "type[Initiator]":
    """An Initiator whose EAD_3 is change(what it should be)."""

    class Device(Initiator):
        def _ead_3(self, th_3: bytes) -> bytes:
            return messages.encode_ead(change(messages.decode_ead(super()._ead_3(th_3))))

    return Device


def hub_that_answers(change: "Callable[[Items], Items]") -> "type[Responder]":
    """A Responder whose EAD_4 is change(what it should be)."""

    class Hub(Responder):
        def _message_4(self, items: "Items") -> None:
            super()._message_4(change(items))

    return Hub


def hub_that_adds(items: "Items", forged: bool = False) -> "type[Responder]":
    """A Responder that sends EAD_2, or, `forged`, one who is on the way and knows no key of the hub."""

    class Method:
        def __init__(self, inner: object) -> None:
            self.number = inner.number
            self.prk_3e2m = inner.prk_3e2m
            self._inner = inner

        def authenticate_2(self, *arguments: object) -> bytes:
            schedule, prk, th_2, c_r, id_cred, identity, _, randomness = arguments
            proof = self._inner.authenticate_2(
                schedule, prk, th_2, c_r, id_cred, identity, messages.encode_ead(items), randomness
            )
            return bytes(len(proof)) if forged else proof

    class Hub(Responder):
        def answer(self, now: float) -> None:
            self._method = Method(self._method)
            encode = messages.encode_plaintext_2
            messages.encode_plaintext_2 = lambda fields: encode(messages.Plaintext2(*fields[:3], items))
            try:
                super().answer(now)
            finally:
                messages.encode_plaintext_2 = encode
                self._method = self._method._inner

    return Hub
