"""`make soak`: with an hour, a trunk under load for ten minutes and 10^9 secret bits of a QKD link first;
then the property and end-to-end tests again and again, with new random inputs each time.

    python tests/soak.py [seconds, 3600 when not given]

Ends with the first round that fails, whose seed it prints, or when the time is over.
"""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("tests/property", "tests/e2e")


def main() -> int:
    """0 when no round failed."""
    seconds = float(sys.argv[1] if len(sys.argv) > 1 else 3600)
    end = time.monotonic() + seconds
    rounds = 0
    if seconds >= 3600:
        environment = {**os.environ, "HANDFAST_KEY_BITS": str(10**9)}
        bits = (
            "-m",
            "pytest",
            "-q",
            "tests/kme/test_link_model.py",
            "-k",
            "hold_the_same_bits",
            "--log-cli-level=INFO",
        )
        for command in (("tests/trunk/load_run.py",), bits):
            if subprocess.run((sys.executable, *command), cwd=ROOT, check=False, env=environment).returncode:
                return 1
    while rounds == 0 or time.monotonic() < end:
        seed = secrets.randbelow(2**32)
        tests = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={seed}", *FOLDERS]
        if subprocess.run(tests, cwd=ROOT, check=False).returncode:
            print(f"round {rounds + 1} failed with --hypothesis-seed={seed}")
            return 1
        rounds += 1
    print(f"{rounds} rounds, none failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
