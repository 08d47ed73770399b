"""Runs test files one after the other on the emulated board; on_board.py starts it there.

The order of what is printed: `begin FILE`, what the file says, its counts.
"""

import asyncio
import gc
import sys

import micropython_runner

# What one file imported stays for the next one, but for the tests themselves and what they share: a file
# may replace what another one relies on.
KEPT = ("handfast", "asyncio")


def main(root: str, paths: "list[str]") -> None:
    """Every file."""
    start = list(sys.path)
    modules = set(sys.modules)
    for path in paths:
        print("begin", path)
        try:
            results = []
            for name, test in micropython_runner.load(root, path, ()):
                asyncio.new_event_loop()
                results.append(asyncio.run(micropython_runner.run(name, test)))
            micropython_runner.report(path, results)
        except Exception as error:
            sys.print_exception(error)
            print("%s: 0 passed, 1 failed" % path)
        sys.path[:] = start
        for name in list(sys.modules):
            if name not in modules and not name.startswith(KEPT):
                del sys.modules[name]
        gc.collect()
