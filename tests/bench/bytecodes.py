"""How many bytecodes the hub runs for an enrolment, by thread and function.

    python tests/bench/bytecodes.py [--enrolments N] [--functions N] [--only MODULE]

What a busy machine cannot blur: two runs of one version differ by a few per cent, because how much is
done in one lot is chance. A bytecode is not a unit of time, and what C does in one is not in it.
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

sys.path.append(str(Path(__file__).resolve().parent.parent / "e2e"))

import onboarding
from child import Child, answer, read_request

from handfast_hub.config import load_config

BACK_END = "pycryptodome"
WARM_UP = 32
AT_ONCE = 128


class Count:
    """Bytecodes by code object, in every thread that is started from now on and in this one."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[CodeType]] = {}
        threading.settrace(self._called)
        sys.settrace(self._called)

    def take(self) -> dict[str, dict[str, int]]:
        """What was counted since the last call, by thread, then by "file:function"."""
        taken: dict[str, dict[str, int]] = {}
        for thread, counter in self._counts.items():
            functions: Counter[str] = Counter()
            for code, count in list(counter.items()):
                functions[f"{_short(code.co_filename)}:{code.co_qualname}"] += count
            taken[thread] = dict(functions)
            counter.clear()
        return taken

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = threading.current_thread().name
        counter = self._counts.setdefault(name, Counter())

        def local(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                counter[frame.f_code] += 1
            return local

        def called(frame: FrameType, event: str, argument: Any) -> Any:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return local

        sys.settrace(called)
        return called(frame, event, argument)


def _short(filename: str) -> str:
    path = Path(filename)
    return "/".join(path.parts[-2:])


async def hub(config: Path) -> None:
    """The hub as a child: counts, and tells when it is asked."""
    import hub_process

    from handfast_cpython.crypto import Crypto
    from handfast_hub.hub import Hub

    count = Count()
    loaded = load_config(config)
    hub_process.configure_logs(loaded)
    async with Hub(loaded, crypto=Crypto(BACK_END)):
        answer()
        while await asyncio.to_thread(read_request) is not None:
            answer(counts=count.take())


def measure(enrolments: int) -> dict[str, dict[str, int]]:
    """Bytecodes of `enrolments` enrolments, message_1 to message_4."""
    with tempfile.TemporaryDirectory(prefix="handfast-bytecodes-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        hub_code, tokens = onboarding._install(folder, BACK_END, WARM_UP + enrolments)
        onboarding._start_broker(stack, "mosquitto", folder, hub_code)
        child = stack.enter_context(Child("bytecodes.py", "--hub", str(folder / "hub.toml")))
        child.hear()
        port = str(load_config(folder / "hub.toml").mqtt.port)
        devices = stack.enter_context(Child("device_process.py", port, BACK_END, hub_code))
        devices.ask("make", tokens=tokens)
        devices.ask("join", count=WARM_UP, at_once=AT_ONCE)
        child.ask("count")
        devices.ask("join", count=enrolments, at_once=AT_ONCE)
        counts: dict[str, dict[str, int]] = child.ask("count")["counts"]
        return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--enrolments", type=int, default=256)
    parser.add_argument("--functions", type=int, default=25, help="how many to name for each thread")
    parser.add_argument("--hub", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hub:
        asyncio.run(hub(options.hub))
        return
    counts = measure(options.enrolments)
    threads: dict[str, Counter[str]] = {}
    for thread, functions in counts.items():
        threads.setdefault(thread.rstrip("-0123456789"), Counter()).update(functions)
    each = options.enrolments
    for thread, found in sorted(threads.items(), key=lambda item: -item[1].total()):
        print(f"{found.total() / each:8.0f}  {thread}")
        for function, count in found.most_common(options.functions):
            print(f"{count / each:16.1f}  {function}")


if __name__ == "__main__":
    main()
