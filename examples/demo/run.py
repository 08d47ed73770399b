"""`make demo`: two acts, one after the other, or one of them by name. Everything is real but the hardware.

    python run.py [fleet] [trunk]

fleet   a hub with its broker, fifty devices, and what befalls them
trunk   two hubs, a SIMULATED quantum link between them, and an eavesdropper on it

Exit code 0 only when every step went as it should. Ctrl-C ends every process that was started.
"""

import argparse
import asyncio
import sys

import fleet_act
import trunk_act

ACTS = {"fleet": fleet_act.act, "trunk": trunk_act.act}


async def main(names: list[str]) -> int:
    """Tell the acts; the exit code."""
    good = [await ACTS[name]() for name in names]
    return 0 if all(good) else 1


def wanted() -> list[str]:
    """The acts that the command line names, or all."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=plain)
    parser.add_argument("acts", metavar="ACT", nargs="*", help=" or ".join(ACTS))
    names: list[str] = parser.parse_args().acts or list(ACTS)
    unknown = [name for name in names if name not in ACTS]
    if unknown:
        parser.error(f"there is no act {unknown[0]!r}; there are {', '.join(ACTS)}")
    return names


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(wanted())))
    except KeyboardInterrupt:
        sys.exit(130)
