"""What each step of a device takes, printed while it lives: `watch` it before `main.run`.

    figure NAME ALLOCATED PEAK BUSY

in bytes of the heap that are held after a collection, bytes that were held at the same time since the
figure before, and ticks of 40 ns in which the processor ran since the start (see `emulator.busy`).
"""

import gc

import emulator

from handfast.core.constants import MAX_MESSAGE_4
from handfast_micropython.crypto import Crypto
from handfast_micropython.mqtt import MqttLink

# Bytes between two collections, so between two looks at what is held.
RESOLUTION = 2048


def figure(name: str) -> None:
    """Print one."""
    ticks = emulator.busy()
    if emulator.option("figures") == "heap":
        peak = emulator.peak()
        print("figure %s %d %d %d" % (name, gc.mem_alloc(), peak, ticks))
    else:
        print("figure %s 0 0 %d" % (name, ticks))


class WatchedLink(MqttLink):
    """Prints a figure before and after everything that goes over the link."""

    async def connect(self, endpoint: "object") -> None:
        """The steps of an onboarding, or of a connection after it."""
        self._onboarding = not endpoint.channels
        figure("ready_to_connect")
        await super().connect(endpoint)
        figure("connected")

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """The payload was made."""
        # What is sent again has its name again.
        message = "message_1" if payload[:1] == b"\xf5" else "message_3"
        figure(message if self._onboarding else "record_made")
        await super().send(channel, payload)

    async def receive(self) -> "tuple[int | None, bytes]":
        """A payload came."""
        received = await super().receive()
        message = "message_4" if len(received[1]) <= MAX_MESSAGE_4 else "message_2"
        figure(message + "_received" if self._onboarding else "record_received")
        return received


def _signing(sign: "object") -> "object":
    def told(*arguments: "object") -> "object":
        figure("signing")
        signature = sign(*arguments)
        figure("signed")
        return signature

    return told


def watch(main: "object") -> None:
    """From now on the links of `main` print figures."""
    if emulator.option("figures") == "heap":
        gc.threshold(RESOLUTION)
    else:
        # How often it is attempted is chance: it counts by itself.
        Crypto.sign = _signing(Crypto.sign)
    main.MqttLink = WatchedLink
