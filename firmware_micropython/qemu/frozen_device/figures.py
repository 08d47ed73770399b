"""What each step of a device takes, printed while it lives: `watch` it before `main.run`.

    figure NAME ALLOCATED PEAK BUSY

in bytes of the heap that are held after a collection, bytes that were held at the same time since the
figure before, and ticks of 40 ns in which the processor ran since the start (see `emulator.busy`).
"""

import gc

import emulator

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
        """The steps of an onboarding, or of a connection after it, count anew."""
        self._names = list(("message_3", "message_1") if not endpoint.channels else ())
        self._heard = list(("message_4_received", "message_2_received") if not endpoint.channels else ())
        figure("ready_to_connect")
        await super().connect(endpoint)
        figure("connected")

    async def send(self, channel: "int | None", payload: bytes) -> None:
        """The payload was made."""
        figure(self._names.pop() if self._names else "record_made")
        await super().send(channel, payload)

    async def receive(self) -> "tuple[int | None, bytes]":
        """A payload came."""
        received = await super().receive()
        figure(self._heard.pop() if self._heard else "record_received")
        return received


def watch(main: "object") -> None:
    """From now on the links of `main` print figures."""
    if emulator.option("figures") == "heap":
        gc.threshold(RESOLUTION)
    main.MqttLink = WatchedLink
