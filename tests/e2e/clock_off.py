"""`handfast` or `handfast-hub` whose wall clock is off: clock_off.py FILE PROGRAM ARGUMENTS.

FILE says by how many seconds, and is read each time, so that the clock can jump while the program
runs. The monotonic clock is the machine's own, as when somebody sets the time.
"""

import sys
import time
from pathlib import Path

_true_time = time.time


def main() -> None:
    """Run the program."""
    file, program = Path(sys.argv[1]), sys.argv[2]
    time.time = lambda: _true_time() + float(file.read_text())
    sys.argv = sys.argv[2:]
    if program == "handfast":
        from handfast_cpython.cli import main as run
    else:
        from handfast_hub.cli import main as run
    run()


if __name__ == "__main__":
    main()
