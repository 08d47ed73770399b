"""How many bytecodes the hub runs for an enrolment, by thread and function.

    python tests/bench/bytecodes.py [--enrolments N] [--functions N]

What a busy machine cannot blur: two runs of one version differ by a per cent or two, because how much
is done in one lot is chance. A bytecode is no unit of time, and what C does inside one is not counted.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

sys.path += [str(Path(__file__).resolve().parents[1] / folder) for folder in ("e2e", "")]

import hub_process
import onboarding
from child import Child, answer, read_request

from handfast_cpython.crypto import Crypto
from handfast_hub.config import load_config
from handfast_hub.hub import Hub

BACK_END = "pycryptodome"
# Enough that every statement is compiled for every size of a lot.
WARM_UP = 128
AT_ONCE = 128


class Count:
    """Counts the bytecodes of calls that begin from now on, here and in threads that are started later."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[CodeType]] = {}
        threading.settrace(self._begin)
        sys.settrace(self._begin)

    def take(self) -> dict[str, dict[str, int]]:
        """What was counted since the last call: by thread without its number, then by function."""
        taken: dict[str, Counter[str]] = {}
        for thread, counter in self._counts.items():
            functions = taken.setdefault(thread.rstrip("-0123456789"), Counter())
            for code, count in list(counter.items()):
                file = "/".join(code.co_filename.split("/")[-2:])
                functions[f"{file}:{code.co_qualname}"] += count
            counter.clear()
        return {thread: dict(functions) for thread, functions in taken.items()}

    def stop(self) -> None:
        """Count no more in this thread."""
        sys.settrace(None)

    def _begin(self, frame: FrameType, event: str, argument: Any) -> Any:
        counter = self._counts.setdefault(threading.current_thread().name, Counter())

        def inside(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                counter[frame.f_code] += 1
            return inside

        def called(frame: FrameType, event: str, argument: Any) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return inside

        sys.settrace(called)
        return called(frame, event, argument)


async def serve(config: Path) -> None:
    """The hub as a child: counts, and tells when it is asked."""
    count = Count()
    loaded = load_config(config)
    hub_process.configure_logs(loaded)
    async with Hub(loaded, crypto=Crypto(BACK_END)):
        answer()
        while await asyncio.to_thread(read_request) is not None:
            answer(counts=count.take())


def measure(enrolments: int) -> dict[str, dict[str, int]]:
    """Bytecodes of `enrolments` enrolments, message_1 to message_4."""
    with tempfile.TemporaryDirectory(prefix="handfast-bench-") as name, contextlib.ExitStack() as stack:
        config = Path(name) / "hub.toml"
        hub_code, tokens = onboarding._install(config.parent, BACK_END, WARM_UP + enrolments)
        onboarding._start_broker(stack, "mosquitto", config.parent, hub_code)
        hub = stack.enter_context(Child("bytecodes.py", "--serve", str(config)))
        hub.hear()
        port = str(load_config(config).mqtt.port)
        devices = stack.enter_context(Child("device_process.py", port, BACK_END, hub_code))
        devices.ask("make", tokens=tokens)
        devices.ask("join", count=WARM_UP, at_once=AT_ONCE)
        hub.ask("count")
        devices.ask("join", count=enrolments, at_once=AT_ONCE)
        counts: dict[str, dict[str, int]] = hub.ask("count")["counts"]
        return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--enrolments", type=int, default=256)
    parser.add_argument("--functions", type=int, default=25, help="how many to name for each thread")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    each = options.enrolments
    for thread, functions in measure(each).items():
        print(f"{sum(functions.values()) / each:8.0f}  {thread}")
        for function, count in Counter(functions).most_common(options.functions):
            print(f"{count / each:16.1f}  {function}")


if __name__ == "__main__":
    main()
