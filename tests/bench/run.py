"""make bench: what an enrolment and a trunk cost the hub, beside what their cryptography alone would cost.

    python tests/bench/run.py [--quick] [--json] [--enrolments N] [--only trunk]

One run makes every number of docs/benchmarks.md. Nothing here judges: a shared machine is too noisy
for a limit, so a ratio is the median of ratios of rounds that alternate between ours and the floor.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parents[1] / folder) for folder in ("e2e", "")]

import mosquitto
import onboarding
import trunk
from child import Child, places
from onboarding import Plan, Scenario

from handfast_cpython.crypto import back_ends

ROUNDS = 10
ENROLMENTS = 3000
QUICK = Plan(3, 128)
DEFAULT_BACK_END = "pycryptodome"
# The ratio that a release has to reach, and where it is going, by back end.
TARGETS = {"pycryptodome": (1.40, 1.15), "liboqs": (2.50, 1.50)}
RECORD_SIZES = (256, 1024, 16384)
RECORD_ROUNDS = 7

Line = tuple[str, str, str]


def why_not(broker: str, back_end: str) -> str:
    """Why this scenario cannot run here, or the empty string."""
    if back_end not in back_ends():
        return "the library is not on this machine"
    if broker == "mosquitto" and mosquitto.PROGRAM is None:
        return "mosquitto is not on this machine"
    return ""


def why_no_tls() -> str:
    """Why there is no TLS with ML-DSA certificates here, or the empty string."""
    if importlib.util.find_spec("OpenSSL") is None:
        return "pyOpenSSL is not installed, and nothing else here reaches an OpenSSL with ML-DSA"
    from OpenSSL import SSL

    if SSL.OPENSSL_VERSION_NUMBER < 0x30500000:
        version = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
        return f"{version} has no ML-DSA; OpenSSL 3.5 and newer have"
    return ""


def interpreter() -> str:
    """Which Python this is. One without PGO runs the hub a tenth slower, and the floor hardly."""
    name = f"{platform.python_implementation()} {platform.python_version()}"
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return name if optimised else f"{name} without --enable-optimizations"


def placing() -> str:
    """Which processor has what."""
    own, others = places()
    if not own:
        return "Nothing is bound to a processor: there is one, or this system does not let a program choose."
    names = ", ".join(map(str, sorted(others)))
    return f"The hub and the floor beside it have processor {min(own)}, broker and devices have {names}."


def measure_records(back_end: str, quick: bool) -> dict[int, dict[str, float]]:
    """Records a second by size: medians over rounds of ours and of the bare AEAD."""
    found = {}
    with Child("records_process.py", back_end) as records:
        for size in RECORD_SIZES:
            count = (2000 if quick else 10_000) // (8 if size > 4096 else 1)
            rounds = [records.ask("run", count=count, size=size) for _ in range(RECORD_ROUNDS)]
            found[size] = {
                name: count / statistics.median(each[name] for each in rounds) for name in rounds[0]
            }
    return found


def ratio_line(name: str, scenario: Scenario, whole: bool) -> Line:
    field = "whole_ratio" if whole else "ratio"
    low, high = scenario.spread(field)
    if whole:
        spent = scenario.median("join") + scenario.median("confirm")
        floor = scenario.median("floor_join") + scenario.median("floor_confirm")
    else:
        spent, floor = scenario.median("join"), scenario.median("floor_join")
    return (
        name,
        f"{scenario.median(field):.2f} ({low:.2f} to {high:.2f})",
        f"{spent:.0f} us of CPU beside {floor:.0f} us",
    )


def scenario_lines(broker: str, back_end: str, scenario: Scenario | str) -> list[Line]:
    """The rows of one scenario."""
    name = f"{broker}, {back_end}"
    if isinstance(scenario, str):
        return [(f"ratio, {name}", "not run", scenario)]
    now, later = TARGETS[back_end]
    process = "hub process" if broker == "mosquitto" else "hub and broker"
    low, high = scenario.spread("per_second")
    target = f"; target {now:.2f}, going to {later:.2f}" if broker == "mosquitto" else ""
    first = ratio_line(f"**ratio, {name}**: {process}, message_1 to message_4", scenario, whole=False)
    return [
        (first[0], f"**{first[1]}**", first[2] + target),
        ratio_line(f"ratio, {name}: with fin and ack", scenario, whole=True),
        (
            f"enrolments a second, {name}",
            f"{scenario.median('per_second'):.0f} ({low:.0f} to {high:.0f})",
            (
                f"{onboarding.AT_ONCE} at once, p50 {scenario.latency[0] * 1e3:.0f} ms, "
                f"p95 {scenario.latency[1] * 1e3:.0f} ms; the generator takes "
                f"{scenario.median('generator'):.0f} us of the same processors for each"
            ),
        ),
    ]


def tls_line(scenario: Scenario | str, tls: str) -> Line:
    """Hub and broker beside a TLS handshake."""
    name = "hub and broker, message_1 to message_4, beside one mutual TLS handshake with ML-DSA-65"
    if isinstance(scenario, str) or tls:
        return name, "not run", tls or str(scenario)
    ours = [each.join + each.broker for each in scenario.rounds]
    ratio = statistics.median(spent / each.tls for spent, each in zip(ours, scenario.rounds))
    return (
        name,
        f"{ratio:.2f}",
        (
            f"{statistics.median(ours):.0f} us, of it the broker {scenario.median('broker'):.0f}, "
            f"beside {scenario.median('tls'):.0f} us of the TLS server alone"
        ),
    )


def detail_lines(scenario: Scenario) -> list[Line]:
    """Bytes and memory: the same whatever the back end."""
    sizes = scenario.sizes
    handshake = sum(size for name, size in sizes.items() if name.startswith("message"))
    empty, full, restarted = scenario.memory
    thousands = (onboarding.WARM_UP + len(scenario.rounds) * scenario.each) / 1000
    return [
        (
            "bytes of payload, one enrolment",
            f"{handshake} and {sizes['fin'] + sizes['ack']}",
            ", ".join(f"{name} {size}" for name, size in sizes.items()),
        ),
        (
            "bytes on the device's connections",
            f"{scenario.carried[0]:.0f} and {scenario.carried[1]:.0f}",
            "MQTT packets of both directions, without TCP: message_1 to message_4, and fin and ack",
        ),
        (
            "memory for 1,000 known devices",
            f"{(full - empty) / thousands / 1e6:.1f} MB",
            (
                f"just onboarded, answers still kept; {(restarted - empty) / thousands / 1e6:.1f} MB after a "
                f"restart; an empty hub takes {empty / 1e6:.0f} MB; "
                f"{scenario.database / thousands / 1e6:.1f} MB of database"
            ),
        ),
    ]


def kind_lines(scenario: Scenario) -> list[Line]:
    """What the floor is made of."""
    lines = []
    for part, title in (("join", "message_1 to message_4"), ("confirm", "fin and ack")):
        kinds = sorted(scenario.kinds[part].items(), key=lambda item: -item[1][1])
        text = ", ".join(f"{count:.0f} {kind} {seconds * 1e6:.0f}" for kind, (count, seconds) in kinds)
        lines.append((f"the floor of {title}, us", f"{scenario.median('floor_' + part):.0f}", text))
    return lines


def record_lines(records: dict[int, dict[str, float]]) -> list[Line]:
    return [
        (
            f"records a second, {size} B",
            f"{rates['sealed']:,.0f} sealed, {rates['opened']:,.0f} opened",
            f"bare AEAD {rates['bare_sealed']:,.0f} and {rates['bare_opened']:,.0f}",
        )
        for size, rates in records.items()
    ]


def print_table(lines: list[Line]) -> None:
    print("| what | value | detail |\n|---|---|---|")
    for line in lines:
        print("| " + " | ".join(line) + " |")


def print_trunk(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"trunk": found}, indent=1))
    else:
        print(f"{os.cpu_count()} processors, CPython {platform.python_version()}, {platform.system()}\n")
        print_table(trunk.lines(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a glance: too few rounds to trust")
    parser.add_argument("--json", action="store_true", help="print everything for a program")
    parser.add_argument("--enrolments", type=int, default=ENROLMENTS, help="for each scenario")
    all_scenarios = [(broker, back_end) for back_end in TARGETS for broker in ("mosquitto", "embedded")]
    parser.add_argument(
        "--only", metavar="WHAT", help="trunk, or one scenario of enrolments such as mosquitto,liboqs"
    )
    options = parser.parse_args()
    choices = ["trunk", *(",".join(scenario) for scenario in all_scenarios)]
    if options.only not in (None, *choices):
        parser.error(f"--only takes one of {' '.join(choices)}; not '{options.only}'")
    plan = QUICK if options.quick else Plan(ROUNDS, math.ceil(options.enrolments / ROUNDS))
    wanted = [key for key in all_scenarios if options.only in (None, ",".join(key))]
    trunks: dict[str, Any] = {}
    if options.only in (None, "trunk"):
        print("measuring the trunk", file=sys.stderr)
        trunks = trunk.measure(trunk.QUICK if options.quick else trunk.FULL)
    if options.only == "trunk":
        print_trunk(trunks, options.json)
        return
    scenarios: dict[tuple[str, str], Scenario | str] = {}
    no_tls = why_no_tls()
    with ExitStack() as stack:
        tls = None if no_tls else stack.enter_context(Child("tls_process.py", processors=places().measured))
        for broker, back_end in wanted:
            print(f"measuring {broker}, {back_end}", file=sys.stderr)
            reason = why_not(broker, back_end)
            scenarios[broker, back_end] = reason or onboarding.run(broker, back_end, plan, tls)
    records = measure_records(DEFAULT_BACK_END, options.quick)
    done = [scenario for scenario in scenarios.values() if isinstance(scenario, Scenario)]
    if options.json:
        print(json.dumps({**_plain(plan, scenarios, records, no_tls), "trunk": trunks}, indent=1))
        return
    print(
        f"{plan.enrolments} enrolments in {plan.rounds} rounds for each scenario; medians of rounds, their "
        f"spread in brackets.\n{os.cpu_count()} processors, {interpreter()}, {platform.system()}; "
        f"{done[0].crypto if done else ''}\n{placing()}\n"
    )
    lines = [line for key, scenario in scenarios.items() for line in scenario_lines(*key, scenario)]
    first = next(iter(scenarios.values()))
    lines.append(tls_line(first, no_tls))
    if done:
        lines += detail_lines(done[0])
        lines += kind_lines(done[0])
    print_table(lines + record_lines(records) + (trunk.lines(trunks) if trunks else []))


def _plain(plan: Plan, scenarios: dict[Any, Any], records: dict[int, Any], no_tls: str) -> dict[str, Any]:
    found = {}
    for (broker, back_end), scenario in scenarios.items():
        if isinstance(scenario, Scenario):
            rounds = [{**each._asdict(), "ratio": each.ratio} for each in scenario.rounds]
            found[f"{broker},{back_end}"] = {**scenario._asdict(), "rounds": rounds}
        else:
            found[f"{broker},{back_end}"] = {"not run": scenario}
    return {
        "enrolments": plan.enrolments,
        "processors": os.cpu_count(),
        "python": interpreter(),
        "placing": placing(),
        "scenarios": found,
        "records": records,
        "tls not run": no_tls,
    }


if __name__ == "__main__":
    main()
