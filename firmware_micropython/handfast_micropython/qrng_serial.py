"""A quantum source behind a UART: a module that sends bytes unasked, raw or in frames.

Raw is what most modules send. Where the line is noisy a module, or the small chip before it, may send
the frames of `handfast.core.frames` (zero || COBS(bytes || CRC-32) || zero, at most 256 bytes each):
then a byte that the line damaged is dropped instead of being counted against the source.
"""

from handfast.core.constants import SOURCE_QUANTUM
from handfast.core.errors import EntropyError
from handfast_micropython.serial_port import SerialPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast.core.frames import FrameReader

BAUD = 115200
MAX_FRAME = 256


class SerialSource:
    """A serial module; 8 data bits, no parity, one stop bit. What waited in the port is thrown away."""

    kind = SOURCE_QUANTUM

    def __init__(
        self,
        port: str,
        min_entropy: float = 0.8,
        baud: int = BAUD,
        framed: bool = False,
        open_port: "Callable[[str, int], SerialPort]" = SerialPort,
    ) -> None:
        """`port` as for SerialPort; it is opened by the first read. `min_entropy`: claimed bits per bit."""
        self.model = ("serial %s" % port)[:64]
        self.min_entropy = min_entropy
        self._name = port
        self._baud = baud
        self._framed = framed
        self._open_port = open_port
        self._port: "SerialPort | None" = None
        self._frames: "FrameReader | None" = None
        self._waiting = b""

    async def read(self, length: int) -> bytes:
        """1 to `length` bytes; waits as long as the module sends none. EntropyError when it is gone."""
        while not self._waiting:
            try:
                if self._port is None:
                    self._port = self._open_port(self._name, self._baud)
                    self._port.discard()
                raw = await self._port.read(MAX_FRAME if self._framed else length)
            except OSError as error:
                await self.close()
                raise EntropyError("serial %s: %s; is the module connected?" % (self._name, error))
            if not raw:
                await self.close()
                raise EntropyError("serial %s ended; is the module still connected?" % self._name)
            self._waiting = b"".join(self._reader().receive(raw)) if self._framed else raw
        taken = self._waiting[:length]
        self._waiting = self._waiting[length:]
        return taken

    async def close(self) -> None:
        """Let go of the port; may be called twice."""
        self.rest()

    def rest(self) -> None:
        """Let go of the port until the next read, which opens it again."""
        if self._port is not None:
            self._port.close()
            self._port = None
        self._frames = None
        self._waiting = b""

    def _reader(self) -> "FrameReader":
        if self._frames is None:
            from handfast.core.frames import FrameReader

            self._frames = FrameReader(MAX_FRAME)
        return self._frames
