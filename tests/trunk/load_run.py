"""The trunk under load: two hubs, two KMEs, a simulated link, a bad network, and all that can be killed.

    python tests/trunk/load_run.py                  the whole run: ten minutes, 2,000 readings a second
    python tests/trunk/load_run.py --short          the run of `make test`: half a minute
    python tests/trunk/load_run.py --rate 500 --seconds 60 --loss 0
    python tests/trunk/load_run.py --carrier quic --rate 300 --seconds 130

Berlin records readings of three classes, Vienna counts what comes over the trunk. Between them stands
a relay that drops frames; load_plan.py says what is killed when. At the end the databases of both hubs
are compared: nothing lost, nothing twice, in order, and no `secret` reading in an epoch without a QKD
key. Exit: 0 when all of it holds, 1 when not, 130 after Ctrl-C. Everything is on this machine, in a
temporary folder, on ports of 127.0.0.1.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    # Under pytest these folders are on the path already.
    sys.path += [str(Path(__file__).parents[1] / "kme"), str(Path(__file__).parents[1])]

from load_plan import SHORT, WHOLE, Plan
from load_processes import Ended
from load_trunk import Load


def parse(arguments: list[str] | None) -> tuple[Plan, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="half a minute at 300 readings a second")
    parser.add_argument("--seconds", type=float, help="end the load then; later events do not happen")
    parser.add_argument("--rate", type=float, help="readings a second")
    parser.add_argument("--loss", type=float, help="share of the carrier's frames that is dropped, 0 to 0.5")
    parser.add_argument("--carrier", choices=("tcp", "quic"), help="what joins the hubs; tcp by default")
    parser.add_argument("--calm", action="store_true", help="kill nothing and replay nothing under load")
    parser.add_argument("--seed", type=int, help="of the network's randomness")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave databases and logs in this new folder"
    )
    parser.add_argument("--json", action="store_true", help="print the result for a program")
    options = parser.parse_args(arguments)
    plan = SHORT if options.short else WHOLE
    given = {name: getattr(options, name) for name in ("seconds", "rate", "loss", "carrier")}
    plan = plan._replace(**{name: value for name, value in given.items() if value is not None})
    if not 0 <= plan.loss <= 0.5 or plan.rate <= 0 or plan.seconds <= 0:
        parser.error("expected --loss from 0 to 0.5, and --rate and --seconds above 0")
    events = [] if options.calm else [event for event in plan.events if event.at < plan.seconds]
    return plan._replace(events=tuple(events)), options


def main(arguments: list[str] | None = None) -> int:
    """0 when everything holds."""
    plan, options = parse(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    tell(
        f"--seed {seed}: {plan.rate:g} readings a second for {plan.seconds:g} s over {plan.carrier.upper()},"
        f" {plan.loss:.0%} of frames lost"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        load = Load(plan, seed, folder, tell)
        try:
            asyncio.run(load.run())
        except KeyboardInterrupt:
            tell("stopped; every process was ended")
            return 130
        except Ended as error:
            print(error, file=sys.stderr)
            return 1
    if options.json:
        checks = [check._asdict() for check in load.checks]
        print(json.dumps({**load.numbers, "checks": checks}, indent=1))
        return 0 if all(check.held for check in load.checks) else 1
    for check in load.checks:
        print(f"{'holds ' if check.held else 'FAILS '} {check.name}: {check.detail}")
    for name, value in load.numbers.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    return 0 if all(check.held for check in load.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
