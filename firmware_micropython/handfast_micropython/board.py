"""The bundle of ports that a Device takes on a board.

board = Board(qrng_uart=1)
"""

import gc

from handfast.core.errors import LocalError
from handfast_micropython import phases
from handfast_micropython.clock import Clock
from handfast_micropython.crypto import Crypto
from handfast_micropython.keystore import PATH, Keystore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import QuantumSource
    from handfast_micropython.entropy import Entropy

__all__ = ("PATH", "Board", "unique_id")


class Board:
    """Crypto, keystore, entropy and clock of this board."""

    def __init__(
        self,
        path: str = PATH,
        *,
        qrng_uart: "int | None" = None,
        qrng: "str | QuantumSource | None" = None,
        keystore: "Keystore | None" = None,
    ) -> None:
        """`path`: the folder of the keystore, unless one is given. `qrng_uart`: the number of the UART
        with the quantum module; or `qrng`: see `handfast_micropython.qrng`, or a source. Without either
        the chip's generator is the source, and says so.

        KeystoreError when the keystore cannot be used.
        """
        if qrng_uart is not None:
            if qrng is not None:
                raise LocalError("give the quantum source once, as qrng or as qrng_uart")
            qrng = "uart:%d" % qrng_uart
        self._source = qrng or "os"
        self._entropy: "Entropy | None" = None
        self.crypto = Crypto()
        self.clock = Clock()
        self.keystore = Keystore(path) if keystore is None else keystore

    @property
    def entropy(self) -> "Entropy":
        """Made when it is first asked for: a board that has its key draws nothing.

        LocalError for a source that does not exist, KeystoreError.
        """
        if self._entropy is None:
            gc.collect()
            from handfast_micropython.entropy import Entropy
            from handfast_micropython.qrng import open_source

            source = open_source(self._source) if isinstance(self._source, str) else self._source
            self._entropy = Entropy(self.crypto, self.keystore, source, unique_id=unique_id())
        return self._entropy

    def passed(self, step: str) -> None:
        """Called when a step of an enrolment is over: lets go of what it had loaded."""
        if step == "drawn":
            # What it would lose is stored: the state, the count of alarms and of bytes.
            self._entropy = None
        for phase in phases.OF_STEP[step]:
            phases.end(phase)

    async def close(self) -> None:
        """Let go of the source and of the keystore; may be called twice."""
        if self._entropy is not None:
            await self._entropy.close()
        self.keystore.close()


def unique_id() -> bytes:
    """The serial number of the chip, or nothing where it has none; no secret."""
    try:
        from machine import unique_id as number  # type: ignore[import-not-found]
    except ImportError:
        return b""
    return bytes(number())
