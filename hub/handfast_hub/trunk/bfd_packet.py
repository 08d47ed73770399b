"""The control packet of BFD (RFC 5880 section 4.1): fields to bytes and back.

    Vers and Diag (1) | Sta and flags (1) | Detect Mult (1) | Length (1) | My Discriminator (4) |
    Your Discriminator (4) | Desired Min TX Interval (4) | Required Min RX Interval (4) |
    Required Min Echo RX Interval (4)

There is no authentication section (section 6.7): a control packet travels inside a record of the trunk,
which is authenticated, encrypted, and taken once.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from handfast.core.errors import DecodeError

PACKET_LENGTH = 24
VERSION = 1

_PACKET = struct.Struct(">BBBBIIIII")
_POLL, _FINAL, _AUTHENTICATED, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x04, 0x02, 0x01


class State(IntEnum):
    """Section 4.1, State (Sta)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(IntEnum):
    """Section 4.1, Diagnostic (Diag); 9 to 31 are reserved."""

    NO_DIAGNOSTIC = 0
    CONTROL_DETECTION_TIME_EXPIRED = 1
    ECHO_FUNCTION_FAILED = 2
    NEIGHBOR_SIGNALED_SESSION_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8


class ControlPacket(NamedTuple):
    """Section 4.1, the mandatory section, in the order of the wire. Intervals are in microseconds."""

    diagnostic: int
    state: State
    poll: bool
    final: bool
    demand: bool
    detect_mult: int
    my_discriminator: int
    your_discriminator: int
    desired_min_tx_interval: int
    required_min_rx_interval: int
    required_min_echo_rx_interval: int = 0

    def encode(self) -> bytes:
        """The 24 bytes of the packet."""
        flags = (_POLL if self.poll else 0) | (_FINAL if self.final else 0) | (_DEMAND if self.demand else 0)
        return _PACKET.pack(
            VERSION << 5 | self.diagnostic,
            self.state << 6 | flags,
            self.detect_mult,
            PACKET_LENGTH,
            *self[6:],
        )


def decode_packet(data: bytes) -> ControlPacket:
    """Parse a control packet; DecodeError for each packet that section 6.8.6 discards by its looks."""
    if len(data) < PACKET_LENGTH:
        raise DecodeError(f"a BFD control packet has at least {PACKET_LENGTH} bytes, not {len(data)}")
    first, flags, detect_mult, length, *rest = _PACKET.unpack_from(data)
    packet = ControlPacket(
        first & 0x1F, State(flags >> 6), bool(flags & _POLL), bool(flags & _FINAL), bool(flags & _DEMAND),
        detect_mult, *rest,
    )  # fmt: skip
    # The rules of section 6.8.6, in its order. A longer payload, reserved diagnostics and the C bit are
    # lawful: section 6 warns of pedantry.
    if first >> 5 != VERSION:
        raise DecodeError(f"expected BFD version {VERSION}, not {first >> 5}")
    if not PACKET_LENGTH <= length <= len(data):
        raise DecodeError(f"the Length of a BFD control packet of {len(data)} bytes cannot be {length}")
    if detect_mult == 0:
        raise DecodeError("the Detect Mult of a BFD control packet is zero")
    if flags & _MULTIPOINT:
        raise DecodeError("the Multipoint bit of a BFD control packet is set")
    if packet.my_discriminator == 0:
        raise DecodeError("My Discriminator of a BFD control packet is zero")
    if packet.your_discriminator == 0 and packet.state not in (State.DOWN, State.ADMIN_DOWN):
        raise DecodeError("a BFD session that is not Down has to name Your Discriminator")
    if flags & _AUTHENTICATED:
        raise DecodeError("a BFD control packet bears an authentication section, and none is in use")
    return packet
