"""The ports of handfast for a board that runs MicroPython. Its names are loaded when asked for.

crypto                                            the Crypto port, over what follows
keccak  kmac  sha384  xof                         hashes
aes_ccm  aes_gcm  aes                             authenticated encryption
mlkem  x25519  xwing                              key encapsulation
mldsa  mldsa_sampling                             signatures
coefficients  buffers  scratch                    packing, combining, comparing; the memory of polynomials
*_viper  *_native  *_bytecode                     what a chip computes in machine code, in C, or in neither
tier  phases                                      which of them; what is let go when its time is over

board  clock  keystore  flash  configuration      the bundle for a Device; what it keeps
entropy  qrng  qrng_serial  qrng_system  qrng_second  serial_port   random bytes, and where they come from
mqtt  mqtt_client  mqtt_serial  uart  wifi        ways to the hub
provisioning  main                                setting it up; what runs at boot
"""

import gc
import sys

# MicroPython looks through the file system at every import of these, for a file might stand in their place.
# Once is enough: it takes 150,000 instructions each time.
for _name in ("array", "collections", "hashlib", "os"):
    sys.modules[_name] = __import__(_name)

# Collect whenever this part of the heap was taken, from the first import on. Else the first collection comes
# when the heap is full, and what lives long lies everywhere between what does not: nothing large finds a
# place again. A part and no number of bytes, for a collection costs as much as the heap is large; a heap with
# room to spare waits longer.
PART, PART_OF_MUCH, MUCH = 8, 4, 160 << 10

if hasattr(gc, "threshold"):
    _heap = gc.mem_free() + gc.mem_alloc()  # type: ignore[attr-defined]
    gc.threshold(_heap // (PART if _heap < MUCH else PART_OF_MUCH))

_PLACES = {"Board": "board", "MqttLink": "mqtt", "UartLink": "uart"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast_micropython.board import Board as Board
    from handfast_micropython.mqtt import MqttLink as MqttLink
    from handfast_micropython.uart import UartLink as UartLink


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is not None:
        return getattr(getattr(__import__("handfast_micropython." + place), place), name)
    if name[0] == "_" or not name.islower():
        raise AttributeError("handfast_micropython has no %s; it has %s" % (name, ", ".join(sorted(_PLACES))))
    # MicroPython asks here before it looks for a module, CPython after.
    return getattr(__import__("handfast_micropython." + name), name)
