"""Instructions of whole onboardings on the emulated Cortex-M3, against a real hub through Mosquitto.

    python tests/bench/board_onboarding.py [runs, 5 when not given]

Attempts to sign are chance, so runs differ; the median counts.
From the start of the board to the key in its flash, and of that from the first connection on; what the
processor sleeps does not count. The broker answers in real time, so that one instruction is 8 ns here.
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


async def measure(folder: Path, native: Path | None) -> tuple[int, int]:
    """Instructions from the start of the board, and from its first connection, until it has its key.

    `native` is the module with the kernels in C, if they are to compute.
    """
    world, module = World(folder / "world", SUITE), QuantumModule()
    await world.start()
    try:
        board = world.board(module, icount=COUNTING, options={"figures": "busy"})
        if native:
            await board.prompt()
            await board.run(INSTALL.format(native=native))
            board.restart()
            await board.prompt()
            assert await board.run(ASK) == "native"
            board.restart()
        qrng = f"uart:2#min-entropy={module.claim}"
        hub, token = world.hub_code(), await world.token()
        await set_up(board, hub, token, broker="uart:1", qrng=qrng, suites=[SUITE], period=1)
        board.restart()
        found = await figures(board, "record_made")
        start, key = found["imported"].busy, found["ready_to_connect_again"].busy
        connected = found["connected"].busy
        return (key - start) * TICK >> SHIFT, (key - connected) * TICK >> SHIFT
    finally:
        await world.close()
        module.close()


def main() -> int:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for tier, native, target in (("viper", None, 240), ("native", native_module("armv7m"), 80)):
        found = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                found.append(asyncio.run(measure(Path(folder), native)))
        for place, what in enumerate(
            ("a whole onboarding, suite %d" % SUITE, "from its first connection on")
        ):
            counts = sorted(run[place] / 1e6 for run in found)
            every = ", ".join("%.0f" % count for count in counts)
            print(
                "%s, %s: %.0f million (%s); target %d"
                % (what, tier, statistics.median(counts), every, target)
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
