"""A quantum module on a serial line: the simulated photonic source behind a pseudo terminal."""

import asyncio
import os
import termios
import threading
import tty

from handfast_cpython.qrng_simulated import SimulatedSource


class QuantumModule:
    """The simulated photonic source behind a pseudo terminal; it sends unasked, as modules do."""

    def __init__(self) -> None:
        self._far, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self._far, False)
        source = SimulatedSource(seed=7)
        claim = source.min_entropy
        self.path = os.ttyname(self._near)
        self.spec = f"uart:{self.path}#min-entropy={claim}"
        self.claim = claim
        self._source = source
        self._state = self._wanted = "well"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        loop = asyncio.new_event_loop()
        raw = b""
        while not self._stop.is_set():
            if self._state != self._wanted:
                # Neither the line nor we keep anything of the time before.
                raw = b""
                termios.tcflush(self._near, termios.TCIFLUSH)
                self._state = self._wanted
            if self._state == "silent":
                # What waits in the driver was said before.
                termios.tcflush(self._near, termios.TCIFLUSH)
                self._stop.wait(0.01)
                continue
            raw = raw or loop.run_until_complete(self._source.read(64))
            if self._state == "stuck":
                raw = b"\x5a" * 64
            if self._state == "slow":
                # A few hundred bytes a second.
                raw = raw[:4]
                self._stop.wait(0.01)
            try:
                raw = raw[os.write(self._far, raw) :]
            except BlockingIOError:
                self._stop.wait(0.01)
        loop.close()

    def become(self, state: str) -> None:
        """Be well, stuck, silent or slow from now on; what was sent before and not read yet is gone."""
        self._wanted = state
        while self._state != state and self._thread.is_alive():
            self._stop.wait(0.01)

    def close(self) -> None:
        """Pull it out."""
        self._stop.set()
        self._thread.join(10)
        os.close(self._far)
        os.close(self._near)
