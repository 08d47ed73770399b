"""Quantum sources by name: what the setting `qrng` of a board may say.

    os          the chip's generator
    uart:1      a module on that UART

Settings of a UART follow a "#": `uart:1#baud=9600,min-entropy=0.9,framed=1`. `min-entropy` is the
claim in bits per bit, 0.5 to 1; `framed` is 1 when the module sends frames (see `qrng_serial`).
"""

from handfast.core.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.ports import QuantumSource

CHOICES = "choose os or uart:NUMBER"


def open_source(spec: str) -> "QuantumSource":
    """The source that `spec` names; it is reached for by its first read. LocalError names the choices."""
    place, _, tail = spec.strip().partition("#")
    word, _, rest = place.partition(":")
    if word == "os" and not rest and not tail:
        from handfast_micropython.qrng_system import SystemSource

        return SystemSource()
    if word == "uart" and rest:
        from handfast_micropython.qrng_serial import BAUD, SerialSource

        baud, claim, framed = BAUD, 0.8, False
        for part in tail.split(",") if tail else ():
            name, _, text = part.partition("=")
            try:
                if name == "baud":
                    baud = int(text)
                elif name == "min-entropy":
                    claim = float(text)
                elif name == "framed" and text in ("0", "1"):
                    framed = text == "1"
                else:
                    raise ValueError
            except ValueError:
                raise LocalError("no setting %r for a uart; there are baud, min-entropy and framed" % part)
        if not 0.5 <= claim <= 1 or baud < 1:
            raise LocalError("min-entropy is 0.5 to 1 and baud above 0, not %r" % tail)
        return SerialSource(rest, claim, baud, framed)
    raise LocalError("no quantum source %r; %s" % (place, CHOICES))
