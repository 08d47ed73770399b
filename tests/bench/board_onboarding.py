"""Instructions of a whole onboarding on the emulated Cortex-M3, against a real hub through Mosquitto.

    python tests/bench/board_onboarding.py

From the start of the board to the key in its flash, and of that from the first connection on; what the
processor sleeps does not count. The broker answers in real time, so that one instruction is 8 ns here.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests")]
sys.path[:0] = [str(ROOT / "firmware_micropython" / name) for name in ("qemu", "native", "")]

from board_figures import figures  # noqa: E402
from emulated_board import World  # noqa: E402
from quantum_module import QuantumModule  # noqa: E402

COUNTING = "shift=3,sleep=on"
TICK, SHIFT = 40, 3
SUITE = -21


async def measure(folder: Path) -> tuple[int, int]:
    """Instructions from the start of the board, and from its first connection, until it has its key."""
    world, module = World(folder / "world", SUITE), QuantumModule()
    await world.start()
    try:
        board = await world.set_up(module, SUITE, icount=COUNTING, options={"figures": "busy"})
        found = await figures(board, "record_made")
        start, key = found["imported"].busy, found["ready_to_connect_again"].busy
        connected = found["connected"].busy
        return (key - start) * TICK >> SHIFT, (key - connected) * TICK >> SHIFT
    finally:
        await world.close()
        module.close()


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        whole, handshake = asyncio.run(measure(Path(folder)))
    print("a whole onboarding, suite %d: %.0f million instructions of viper," % (SUITE, whole / 1e6))
    print("%.0f of them from the first connection on; the target is 240" % (handshake / 1e6))
    return 0


if __name__ == "__main__":
    sys.exit(main())
