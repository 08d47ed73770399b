"""`make soak`: the property and end-to-end tests again and again, with new random inputs each time.

    python tests/soak.py [seconds, 3600 when not given]

Ends with the first round that fails, whose seed it prints, or when the time is over.
"""

import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("tests/property", "tests/e2e")


def main() -> int:
    """0 when no round failed."""
    end = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 3600)
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        seed = secrets.randbelow(2**32)
        command = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={seed}", *FOLDERS]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            print(f"round {rounds + 1} failed with --hypothesis-seed={seed}")
            return 1
        rounds += 1
    print(f"{rounds} rounds, none failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
