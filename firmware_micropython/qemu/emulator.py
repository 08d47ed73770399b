"""Starts the emulated board; the prompt of MicroPython is on this terminal, or on a TCP port for mpremote.

    python firmware_micropython/qemu/emulator.py --flash flash.img
    python firmware_micropython/qemu/emulator.py --flash flash.img --repl 4321 --broker 127.0.0.1:1883
    mpremote connect socket://127.0.0.1:4321 ls

UART1 goes straight to the broker's TCP port, UART2 to the quantum module: set the board up with
broker="uart:1" and qrng="uart:2". A kill of the emulator is a power cut. See --help.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from build_qemu_port import BOARDS, BuildError, firmware

FLASH_SIZE = 1 << 20
# What stock nRF52840 and MIMXRT boards have; the emulated memory for it has 1 MB.
ROM_SIZE = 256 << 10
ERASED = b"\xff"
# One instruction takes 2^SHIFT ns where they are counted.
COUNTING_SHIFT = 5
NOTHING = "null"


def command(
    image: Path,
    *,
    board: str = "an385",
    flash: Path | None = None,
    rom: Path | None = None,
    repl: str = "stdio",
    broker: str = NOTHING,
    quantum: str = NOTHING,
    heap: int | None = None,
    icount: str | None = None,
    options: dict[str, object] | None = None,
) -> list[str]:
    """The command that runs `image`, a firmware for `board`.

    `flash`: the file that is its flash, made when it is not there. `rom`: likewise its partition for a
    ROMFS, of the size of the file; without one the board has none. `repl`, `broker`, `quantum`: what
    UART0, 1 and 2 are wired to, as QEMU's character devices: stdio, null, `socket,host=H,port=P`,
    `serial,path=P`. `heap` in bytes. `icount`: QEMU's -icount. `options`: further options at boot.
    """
    options = dict(options or {})
    if flash is not None:
        if not flash.exists():
            flash.write_bytes(b"")
            with flash.open("r+b") as file:
                file.truncate(FLASH_SIZE)
        options["flash"] = flash.resolve()
    if rom is not None:
        if not rom.exists():
            rom.write_bytes(ERASED * ROM_SIZE)
        options["rom"] = rom.resolve()
    if heap is not None:
        options["heap"] = heap
    # QEMU ends an argument at a comma, and a comma is written as two; the firmware ends one at a space.
    words = [f"{name}={value}".replace(",", ",,") for name, value in options.items()]
    if any(" " in word for word in words):
        raise ValueError(f"the emulated board takes no path with a space: {options}")
    semihosting = ",".join(["enable=on,target=native", "arg=firmware", *[f"arg={word}" for word in words]])
    parts = ["qemu-system-arm", "-machine", f"mps2-{board}", "-display", "none", "-monitor", "none"]
    parts += ["-kernel", str(image), "-semihosting-config", semihosting]
    for number, device in enumerate((repl, broker, quantum)):
        kind, _, rest = device.partition(",")
        parts += ["-chardev", f"{kind},id=u{number}" + ("," + rest if rest else "")]
        parts += ["-serial", f"chardev:u{number}"]
    if icount is not None:
        parts += ["-icount", icount]
    return parts


def tcp(host: str, port: int) -> str:
    """A character device that connects to `port`, and anew a second after the other side hung up."""
    return f"socket,host={host},port={port},reconnect=1,nodelay=on"


def listening(port: int, wait: bool = False) -> str:
    """A character device at which one TCP client after the other may call; `wait` for the first one."""
    return f"socket,host=127.0.0.1,port={port},server=on,wait={'on' if wait else 'off'},nodelay=on"


def main() -> int:
    """Run until the firmware exits or Ctrl-C (at the terminal Ctrl-C goes to MicroPython: Ctrl-A x ends)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--board", choices=BOARDS, default="an385")
    parser.add_argument("--bare", action="store_true", help="an image without handfast, as a board comes")
    parser.add_argument("--flash", type=Path, help="the file that is its flash; made when it is not there")
    parser.add_argument("--rom", type=Path, help="the file that is its partition for a ROMFS; made likewise")
    parser.add_argument("--repl", type=int, metavar="PORT", help="UART0 listens on this TCP port")
    parser.add_argument("--broker", metavar="HOST:PORT", help="UART1 connects to this broker")
    parser.add_argument("--quantum", metavar="PATH", help="UART2 is this serial device of the host")
    parser.add_argument("--heap", type=int, metavar="BYTES", help="of MicroPython, 196608 by default")
    chosen = parser.parse_args()
    if shutil.which("qemu-system-arm") is None:
        print("qemu-system-arm is not installed; Debian has it in qemu-system-arm", file=sys.stderr)
        return 1
    try:
        image = firmware(chosen.board, chosen.bare)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    host, _, port = (chosen.broker or "").rpartition(":")
    line = command(
        image,
        board=chosen.board,
        flash=chosen.flash,
        rom=chosen.rom,
        repl="stdio,mux=on,signal=off" if chosen.repl is None else listening(chosen.repl),
        broker=tcp(host, int(port)) if chosen.broker else NOTHING,
        quantum=f"serial,path={chosen.quantum}" if chosen.quantum else NOTHING,
        heap=chosen.heap,
    )
    try:
        return subprocess.run(line, check=False).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
