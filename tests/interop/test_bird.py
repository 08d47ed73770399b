"""Our BFD against that of BIRD, a routing daemon: its packets are RFC 5880's, over UDP instead of in records.

BIRD speaks multihop BFD (RFC 5883), always at port 4784; so each run has two loopback addresses of its own.
"""

import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handfast_hub.trunk.bfd import Session, draw_discriminator
from handfast_hub.trunk.bfd_packet import Diagnostic, State

PATIENCE = 60.0
PORT = 4784
_NETWORK = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(256)}"
BIRD, OURS = f"{_NETWORK}.1", f"{_NETWORK}.2"
CONFIGURATION = f"""
router id 192.0.2.1;
protocol device {{}}
protocol bfd trunk {{
  accept ipv4 multihop;
  strict bind on;
  multihop {{ interval 300 ms; idle tx interval 1 s; multiplier 3; }};
  neighbor {OURS} local {BIRD} multihop on;
}}
"""
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
_DAEMON, _CLIENT = (shutil.which(name, path=_PATH) for name in ("bird", "birdc"))

pytestmark = pytest.mark.skipif(
    _DAEMON is None or _CLIENT is None, reason="the Debian package bird2 is not installed"
)


class Wire:
    """BIRD as a process, one session of ours, and the socket between them."""

    def __init__(self, folder: Path) -> None:
        self._control = str(folder / "control")
        (folder / "bird.conf").write_text(CONFIGURATION)
        self._command = [str(_DAEMON), "-f", "-c", str(folder / "bird.conf"), "-s", self._control]
        self._command += ["-P", str(folder / "bird.pid")]
        self.start()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((OURS, PORT))
        draw = random.Random(1).randbytes
        self.session = Session(draw_discriminator(draw), draw, time.monotonic())
        self.mute = False

    def start(self) -> None:
        """Start BIRD, or start it again."""
        self.bird = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        """End both."""
        self.bird.kill()
        self.bird.wait()
        self._socket.close()

    def until(self, condition: Callable[[], bool]) -> None:
        """Let both talk until it is so."""
        end = time.monotonic() + PATIENCE
        looked = 0.0
        while True:
            now = time.monotonic()
            assert now < end, (self.session.state, self.session.diagnostic, self.bird_says())
            ready, _, _ = select.select(
                [self._socket], [], [], max(0.0, min(self.session.timer() - now, 0.1))
            )
            now = time.monotonic()
            if ready:
                self.session.receive(self._socket.recv(1000), now)
            if now >= self.session.timer():
                self.session.handle_timer(now)
            while (packet_to_send := self.session.packet_to_send(now)) is not None:
                if not self.mute:
                    self._socket.sendto(packet_to_send, (BIRD, PORT))
            # Asking BIRD costs a process.
            if now - looked > 0.1:
                if condition():
                    return
                looked = time.monotonic()

    def bird_says(self) -> list[str]:
        """State, interval and timeout (in seconds) of the session, as BIRD shows them."""
        command = [str(_CLIENT), "-s", self._control, "show", "bfd", "sessions"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
        rows = [line.split() for line in shown.splitlines() if line.startswith(OURS)]
        return [rows[0][2], *rows[0][-2:]] if rows else []

    def both_up(self) -> bool:
        """Whether both ends are Up, at 300 ms and three of them."""
        ours = (self.session.state, self.session.transmit_interval, self.session.detection_time)
        return ours == (State.UP, 300_000, 900_000) and self.bird_says() == ["Up", "0.300", "0.900"]


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """Both ends, Up."""
    made = Wire(tmp_path)
    try:
        made.until(made.both_up)
        yield made
    finally:
        made.close()


def test_both_come_up_and_agree_on_intervals_and_on_new_ones(wire: Wire) -> None:
    wire.session.set_interval(1_500_000)
    wire.until(
        lambda: wire.bird_says() == ["Up", "1.500", "4.500"] and wire.session.transmit_interval == 1_500_000
    )
    wire.session.set_interval(300_000)
    wire.until(wire.both_up)
    changes = []
    while (event := wire.session.next_event()) is not None:
        changes.append(event.state)
    assert changes[-1] is State.UP
    assert State.DOWN not in changes


def test_a_session_that_we_hold_down_is_down_at_bird(wire: Wire) -> None:
    wire.session.disable()
    wire.until(lambda: wire.bird_says()[:1] == ["Down"])
    wire.session.enable()
    wire.until(wire.both_up)


def test_when_we_fall_silent_bird_says_that_its_time_expired(wire: Wire) -> None:
    wire.mute = True
    wire.until(lambda: wire.session.state is State.DOWN)
    assert wire.session.diagnostic is Diagnostic.NEIGHBOR_SIGNALED_SESSION_DOWN
    assert wire.session.remote_diagnostic == Diagnostic.CONTROL_DETECTION_TIME_EXPIRED
    wire.mute = False
    wire.until(wire.both_up)


def test_when_bird_dies_our_time_expires_and_its_next_life_is_heard(wire: Wire) -> None:
    wire.bird.send_signal(signal.SIGKILL)
    wire.bird.wait()
    wire.until(lambda: wire.session.state is State.DOWN)
    assert wire.session.diagnostic is Diagnostic.CONTROL_DETECTION_TIME_EXPIRED
    wire.start()
    wire.until(wire.both_up)
