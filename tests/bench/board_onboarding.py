"""Instructions of whole onboardings on the emulated Cortex-M3, against a real hub through Mosquitto.

    python tests/bench/board_onboarding.py [runs, 5 when not given]

Attempts to sign are chance, so runs differ; the median counts.
A board that was set up is switched on: from there to the key in its flash, imports included, and the same
step by step. What the processor sleeps does not count. The broker answers in real time, so that one
instruction is 8 ns here. Setting the board up, once in its life, has a line of its own.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]
sys.path[:0] = [str(ROOT / "firmware_micropython" / name) for name in ("qemu", "native", "")]

from board_figures import figures  # noqa: E402
from build_native import native_module  # noqa: E402
from emulated_board import World, set_up  # noqa: E402
from quantum_module import QuantumModule  # noqa: E402

COUNTING = "shift=3,sleep=on"
TICK, SHIFT = 40, 3
SUITE = -21
INSTALL = """
import emulator, os
os.mkdir('/lib')
with open('/lib/handfast_native.mpy', 'wb') as file: file.write(emulator.read('{native}'))
answer = None
"""
ASK = "from handfast_micropython.tier import TIER as answer"
BUSY = "import emulator\nanswer = emulator.busy()"
# The steps from the power to the key, by the names of what each ends with, and how the table calls them.
STEPS = (
    "imported",
    "ready_to_connect",
    "connected",
    "message_1",
    "message_2_received",
    "signing",
    "signed",
    "message_3",
    "message_4_received",
    "ready_to_connect_again",
)
LINES = {
    "whole": "a whole onboarding of suite %d, from the power to the stored key" % SUITE,
    "imported": "start, imports for a connection",
    "ready_to_connect": "board, keystore, source opened and tested; imports for a handshake",
    "connected": "connected to the broker",
    "message_1": "message_1 made",
    "message_2_received": "message_2 received",
    "signing": "message_2 decrypted and verified, message_3 begun",
    "signed": "the signature",
    "message_3": "message_3 sealed",
    "message_4_received": "message_4 received",
    "ready_to_connect_again": "key stored, enrolment let go, imports for a session",
    "without": "of all of it without the signature, whose attempts are chance",
    "from the first connection on": "of all of it from the first connection on",
    "set up": "not in it: setting it up before, once, a start of the board included",
}


async def measure(folder: Path, native: Path | None) -> dict[str, int]:
    """Instructions of each step of LINES, and `set up`.

    `native` is the module with the kernels in C, if they are to compute.
    """
    world, module = World(folder / "world", SUITE), QuantumModule()
    await world.start()
    try:
        board = world.board(module, icount=COUNTING)
        if native:
            await board.prompt()
            await board.run(INSTALL.format(native=native))
            board.restart()
        await board.prompt()
        assert await board.run(ASK) == ("native" if native else "viper")
        before = await board.run(BUSY)
        board.restart()
        qrng = f"uart:2#min-entropy={module.claim}"
        hub, token = world.hub_code(), await world.token()
        await set_up(board, hub, token, broker="uart:1", qrng=qrng, suites=[SUITE], period=1)
        made = await board.run(BUSY)
        assert isinstance(before, int) and isinstance(made, int)
        board.cut_power()
        # Its counter begins with the power.
        board = world.board(module, icount=COUNTING, options={"figures": "busy"})
        found = {step: figure.busy for step, figure in (await figures(board, "record_made")).items()}
        # What was sent again is the same message; the last one counts.
        last = found.get("message_3_again", found["message_3"])
        ends = [found[name] for name in STEPS]
        ends[STEPS.index("message_3")] = last
        counts = {step: end - start for step, end, start in zip(STEPS, ends, [0, *ends[:-1]], strict=True)}
        counts["whole"] = found[STEPS[-1]]
        counts["from the first connection on"] = counts["whole"] - found["ready_to_connect"]
        counts["without"] = counts["whole"] - counts["signed"]
        counts["set up"] = made - before
        return {name: ticks * TICK >> SHIFT for name, ticks in counts.items()}
    finally:
        await world.close()
        module.close()


def table(viper: list[dict[str, int]], native: list[dict[str, int]]) -> str:
    """The table of docs/benchmarks.md."""
    lines = ["| millions | viper | target | native | target |", "|---|---|---|---|---|"]
    for name, title in LINES.items():
        cells = [title]
        for runs, target in ((viper, 240), (native, 80)):
            counts = sorted(run[name] / 1e6 for run in runs)
            spread = f"{statistics.median(counts):.3g} ({counts[0]:.3g} to {counts[-1]:.3g})"
            cells += [spread, str(target) if name == "whole" else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found = []
    for native in (None, native_module("armv7m")):
        found.append([])
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                found[-1].append(asyncio.run(measure(Path(folder), native)))
    print(table(*found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
