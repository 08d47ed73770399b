"""Runs the test functions of one file under MicroPython: micropython_runner.py ROOT FILE.

Prints a line for each function and the traceback of what failed. A test is `def test_...` or
`async def test_...` without arguments, and fails by an exception. Written for MicroPython alone.
"""

import sys

try:
    import asyncio
except ImportError:
    asyncio = None


def load(root: str, path: str) -> "list[tuple[str, object]]":
    """The tests of a file, by name."""
    folder, _, name = path.rpartition("/")
    for source in ("firmware_micropython", "sdk", "tests/shell", "tests/core", folder):
        sys.path.insert(0, root + "/" + source)
    module = __import__(name[:-3])
    return [(entry, getattr(module, entry)) for entry in sorted(dir(module)) if entry.startswith("test_")]


def run(name: str, test: "object") -> bool:
    """Run one test; whether it passed."""
    try:
        started = test()
        if started is not None:
            asyncio.new_event_loop()
            asyncio.run(started)
    except BaseException as error:
        print("FAILED", name)
        sys.print_exception(error)
        return False
    print("passed", name)
    return True


def main(root: str, path: str) -> int:
    """0 when every test of the file passes."""
    results = [run(*test) for test in load(root, path)]
    print("%s: %d passed, %d failed" % (path, sum(results), len(results) - sum(results)))
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
