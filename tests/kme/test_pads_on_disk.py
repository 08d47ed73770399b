"""kill -9 of who takes pads, at any moment: what was taken once is never taken again."""

import os
import subprocess
import sys
from pathlib import Path

from handfast_kme.store import Store

# Says the names of the cells once they may be sent under, as the KME would.
TAKER = """
import sys
from pathlib import Path
from handfast_kme.store import Store
store = Store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    taken = store.take_pad("ab", 2, sys.argv[2] == "newest", [f"{sys.argv[3]}-{number}"], 1e12)
    if taken is None:
        break
    print(*(f"{block}:{place}" for block, place in taken[0]), flush=True)
"""


def test_no_cell_is_taken_twice_whenever_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    store.add_block("ab", 7, os.urandom(32 * 4000), {})
    said: list[str] = []
    for turn in range(8):
        order = "newest" if turn % 2 else "oldest"
        command = [sys.executable, "-c", TAKER, str(path), order, str(turn)]
        taker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert taker.stdout is not None
        for _ in range(5 + 7 * turn):
            said += taker.stdout.readline().split()
        taker.kill()
        said += taker.stdout.read().split()
        taker.wait()
    assert len(said) == len(set(said)) > 2 * 8 * 5
    # What was taken and not said is lost, and nothing else is.
    left = store.count("ab")
    assert 4000 - len(said) - 2 * 8 <= left <= 4000 - len(said)
    pad = store.give_pad("ab", [(7, int(name.split(":")[1])) for name in said], ["x"], 1e12)
    assert isinstance(pad, list)
    assert len(pad) == len(said)
    assert store.count("ab") == left
