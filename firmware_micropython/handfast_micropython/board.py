"""The bundle of ports that a Device takes on a board.

board = Board(qrng_uart=1)
"""

from handfast.core.errors import Error, LocalError
from handfast_micropython.clock import Clock
from handfast_micropython.crypto import Crypto
from handfast_micropython.entropy import Entropy
from handfast_micropython.keystore import PATH, Keystore
from handfast_micropython.qrng import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import QuantumSource

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

        LocalError for a source that does not exist, KeystoreError when the keystore cannot be used.
        """
        if qrng_uart is not None:
            if qrng is not None:
                raise LocalError("give the quantum source once, as qrng or as qrng_uart")
            qrng = "uart:%d" % qrng_uart
        source = open_source(qrng or "os") if qrng is None or isinstance(qrng, str) else qrng
        self.crypto = Crypto()
        self.clock = Clock()
        self.keystore = Keystore(path) if keystore is None else keystore
        try:
            self.entropy = Entropy(self.crypto, self.keystore, source, unique_id=unique_id())
        except Error:
            self.keystore.close()
            raise

    async def close(self) -> None:
        """Let go of the source and of the keystore; may be called twice."""
        await self.entropy.close()
        self.keystore.close()


def unique_id() -> bytes:
    """The serial number of the chip, or nothing where it has none; no secret."""
    try:
        from machine import unique_id as number  # type: ignore[import-not-found]
    except ImportError:
        return b""
    return bytes(number())
