"""Runs the test functions of one file under MicroPython: micropython_runner.py ROOT FILE.

Prints a line for each function and the traceback of what failed. A test is `def test_...` or
`async def test_...` without arguments, and fails by an exception. Written for MicroPython alone.
"""

import asyncio
import sys

# Imported from here and not below a test's own imports: with 32-bit words the unix port compiles
# some seven modules within each other before its C stack is full. A board has them compiled.
EARLY = (
    "host_crypto",
    "handfast.core.records",
    "handfast.core.device_session",
    "handfast.core.hub_session",
    "handfast.core.initiator",
    "handfast.core.responder",
    "handfast.device",
    "handfast.testing",
)


# Where a test finds handfast, unless it is frozen.
HANDFAST = ("firmware_micropython", "sdk")


def load(root: str, path: str, handfast: "tuple[str, ...]" = HANDFAST) -> "list[tuple[str, object]]":
    """The tests of a file, by name."""
    folder, _, name = path.rpartition("/")
    for source in handfast + ("tests/shell", "tests/core", folder):
        sys.path.insert(0, root + "/" + source)
    for early in EARLY if folder == "tests/shell" else EARLY[:1] if folder == "tests/core" else ():
        __import__(early)
    module = __import__(name[:-3])
    return [(entry, getattr(module, entry)) for entry in sorted(dir(module)) if entry.startswith("test_")]


async def run(name: str, test: "object") -> bool:
    """Run one test; whether it passed."""
    try:
        started = test()
        if started is not None:
            # In a task of its own, which can be woken by a timeout; npm's build calls us from none.
            await asyncio.create_task(started)
    except BaseException as error:
        print("FAILED", name)
        sys.print_exception(error)
        return False
    print("passed", name)
    return True


def report(path: str, results: "list[bool]") -> int:
    """Print the counts; 0 when all is well."""
    print("%s: %d passed, %d failed" % (path, sum(results), len(results) - sum(results)))
    return 0 if results and all(results) else 1


def main(root: str, path: str) -> int:
    """Every test in an event loop of its own."""
    results = []
    for name, test in load(root, path):
        asyncio.new_event_loop()
        results.append(asyncio.run(run(name, test)))
    return report(path, results)


# micropython_in_node.mjs has a loop of its own and calls `load`, `run` and `report` one by one.
if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
