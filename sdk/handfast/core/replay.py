"""Which records were accepted already: a sliding window, and a floor for channels that keep order.

One Window belongs to one (key, epoch, sender). It is a value: `check` refuses, `accept` returns the
window that follows, and in between the record is decrypted. So a forgery moves nothing, and a hub
can throw the new window away when its transaction fails.
"""

import struct
from collections import namedtuple

from handfast.core.constants import (
    REPLAY_WINDOW,
)
from handfast.core.errors import DecodeError, ReplayError
from handfast.core.topics import BULK, COMMAND, CONTROL

# highest: the highest PIV accepted, -1 for none. bitmap: bit i is set when highest - i was accepted,
# 64 bits. control, command, bulk: the last PIV accepted on that channel, -1 for none.
Window = namedtuple("Window", ("highest", "bitmap", "control", "command", "bulk"))

FRESH = Window(-1, 0, -1, -1, -1)

_MASK = (1 << REPLAY_WINDOW) - 1
_FORMAT = ">qQqqq"
# Index in Window of the floor of each channel that keeps order.
_FLOORS = {CONTROL: 2, COMMAND: 3, BULK: 4}


def check(window: Window, piv: int, channel: int) -> None:
    """ReplayError unless a record with number `piv` may be accepted on `channel`."""
    highest = window[0]
    if piv <= highest:
        age = highest - piv
        if age >= REPLAY_WINDOW:
            raise ReplayError("record %d is older than the window below %d" % (piv, highest))
        if window[1] >> age & 1:
            raise ReplayError("record %d was accepted before" % piv)
        floor = _FLOORS.get(channel)
        if floor is not None and piv <= window[floor]:
            raise ReplayError("record %d comes after %d on channel %d" % (piv, window[floor], channel))


def accept(window: Window, piv: int, channel: int) -> Window:
    """The window after a record that passed `check` and was decrypted."""
    highest, bitmap, control, command, bulk = window
    if piv > highest:
        ahead = piv - highest
        bitmap = (bitmap << ahead | 1) & _MASK if ahead < REPLAY_WINDOW else 1
        highest = piv
    else:
        bitmap |= 1 << (highest - piv)
    if channel == CONTROL:
        control = piv
    elif channel == COMMAND:
        command = piv
    elif channel == BULK:
        bulk = piv
    return Window(highest, bitmap, control, command, bulk)


def overtaken(window: Window, channel: int) -> bool:
    """Whether `channel` keeps order and has a record in `window`, that of a later epoch."""
    floor = _FLOORS.get(channel)
    return floor is not None and window[floor] >= 0


def encode_window(window: Window) -> bytes:
    """40 bytes for storage; no secret."""
    return struct.pack(_FORMAT, *window)


def decode_window(data: bytes) -> Window:
    """The window out of storage; DecodeError for other bytes than `encode_window` gives."""
    if len(data) != struct.calcsize(_FORMAT):
        raise DecodeError("a stored window has 40 bytes, not %d" % len(data))
    return Window(*struct.unpack(_FORMAT, data))
