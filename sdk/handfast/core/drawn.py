"""Random bytes that were drawn ahead: everything that one enrolment needs, in its order.

A quantum source, its tests and its pool have no room beside a handshake on a small board. So all is drawn
before the link connects, each draw mixed as any other, and the board lets go of the source. Each draw is
given out once, and what nobody asked for is wiped.
"""

from handfast.core.constants import ATTEMPT_LENGTH, IDENTIFIER_LENGTH, ROOT_SECRET_LENGTH
from handfast.core.errors import LocalError
from handfast.core.suites import KEMS, SIGNATURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core.suites import Suite


def lengths(suite: "Suite") -> "tuple[int, ...]":
    """Bytes of each draw of an Initiator in `suite`: ephemeral key, C_I, attempt, r_D, the signature's."""
    return (
        int(KEMS[suite.kem].seed),
        IDENTIFIER_LENGTH,
        ATTEMPT_LENGTH,
        ROOT_SECRET_LENGTH,
        int(SIGNATURES[suite.signature].randomness),
    )


class Drawn:
    """`random` of an Initiator, out of draws that were made before it."""

    def __init__(self, random: "Callable[[int], bytes]", lengths: "tuple[int, ...]") -> None:
        """Draws now, once for each of `lengths`; what `random` raises goes on to the caller."""
        self._draws = [bytearray(random(length)) for length in lengths]

    def random(self, length: int) -> bytes:
        """The next draw, `length` bytes; LocalError for another length than it has, or after the last."""
        if not self._draws or len(self._draws[0]) != length:
            raise LocalError("%d random bytes are not what was drawn ahead" % length)
        draw = self._draws.pop(0)
        given = bytes(draw)
        draw[:] = bytes(length)
        return given

    def wipe(self) -> None:
        """The enrolment is over: nothing is given any more."""
        for draw in self._draws:
            draw[:] = bytes(len(draw))
        self._draws = []
