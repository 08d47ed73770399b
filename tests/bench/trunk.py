"""What a trunk costs: records beside bare AES-256-GCM and beside the carrier alone, epochs, distilled bits.

Everything runs in turns and is compared in turns, because a shared machine gets slower and faster.
Ratios are of CPU: on two processors the wall says what else ran.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

sys.path += [str(Path(__file__).resolve().parent.parent / "kme")]

from child import Child
from installation import client, free_ports, installed, process
from link import Link as QkdLink

from handfast.core.errors import Error
from handfast_kme.installed import Folder
from handfast_kme.network import Network
from handfast_kme.optics import Optics, honest

SIZES = (256, 1024, 16384)
# Pulses of a block at 50 km, as in docs/qkd.md.
PULSES = 1_000_000_000
PATIENCE = 600.0

Line = tuple[str, str, str]


class Plan(NamedTuple):
    """How much to measure."""

    rounds: int
    records: int
    epochs: int
    blocks: int


FULL = Plan(7, 20_000, 100, 5)
QUICK = Plan(2, 2_000, 10, 1)


class Sample(NamedTuple):
    """One round of one size: microseconds of CPU for a record, and records a second by the wall."""

    trunk: float
    carrier: float
    bare: float
    sender: float
    receiver: float
    trunk_rate: float
    carrier_rate: float


def measure(plan: Plan) -> dict[str, Any]:
    """Everything of this file, for a program."""
    return {
        "records": {str(size): [each._asdict() for each in _records(plan, size)] for size in SIZES},
        "rekey": _rekeys(plan),
        "distilled_bits_a_second": asyncio.run(_distil(plan.blocks)),
    }


def _records(plan: Plan, size: int) -> list[Sample]:
    count = plan.records // (4 if size > 4096 else 1)
    with Child("trunk_process.py") as taker, Child("trunk_process.py") as sender:

        def carry(mode: str) -> tuple[float, float, float]:
            [port] = free_ports(1)
            taker.tell("carry", role="take", mode=mode, port=port, size=size, count=count)
            sender.tell("carry", role="send", mode=mode, port=port, size=size, count=count)
            sent, taken = sender.hear(), taker.hear()
            return sent["cpu"] / count * 1e6, taken["cpu"] / count * 1e6, count / taken["seconds"]

        found = []
        for _ in range(plan.rounds):
            bare = sender.ask("bare", size=size, count=count)
            carried = carry("carrier")
            linked = carry("link")
            found.append(
                Sample(
                    sum(linked[:2]), sum(carried[:2]), bare["cpu"] / count * 1e6,
                    linked[0], linked[1], linked[2], carried[2],
                )
            )  # fmt: skip
        return found


def _rekeys(plan: Plan) -> dict[str, list[float]]:
    """Seconds of each new epoch, with KMEs and without."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        network, file = installed(folder)
        for option in (("--line", "fibre"), ("--node", "berlin"), ("--node", "vienna")):
            stack.enter_context(process(file, *option))
        asyncio.run(_stored(network, folder, plan.epochs + 10))
        trunk = stack.enter_context(Child("trunk_process.py"))
        settings = [
            _settings(network, name, peer) for name, peer in (("berlin", "vienna"), ("vienna", "berlin"))
        ]
        with_key = trunk.ask(
            "rekey", port=free_ports(1)[0], count=plan.epochs, settings=settings, used=temporary
        )
        without = trunk.ask("rekey", port=free_ports(1)[0], count=plan.epochs, settings=None, used=temporary)
        return {"with a QKD key": with_key["seconds"], "ML-KEM alone": without["seconds"]}


def _settings(network: Network, name: str, peer: str) -> dict[str, str]:
    folder = Folder(network.group.folder).consumer(f"hub-{name}")
    node = network.named("node", name)
    return {
        "hub": "none", "secret_file": "none", "kme": f"https://{node.address}:{node.port}",
        "kme_id": node.kme_id, "peer_sae": f"hub-{peer}", "kme_ca": str(folder / "ca.pem"),
        "kme_certificate": str(folder / "sae.pem"), "kme_key": str(folder / "sae.key"),
    }  # fmt: skip


async def _stored(network: Network, folder: Path, count: int) -> None:
    """Wait until the KMEs have `count` keys."""
    async with asyncio.timeout(PATIENCE), client(network, "hub-berlin", folder / "probe") as probe:
        while True:
            try:
                if (await probe.status("hub-vienna")).stored_key_count >= count:
                    return
            except Error:
                pass
            await asyncio.sleep(0.1)


async def _distil(blocks: int) -> list[float]:
    """Secret bits a wall second of each block; both roles and the light in this process."""
    optics = Optics()
    found = []
    async with QkdLink(optics, honest(optics)) as link:
        for _ in range(blocks):
            began = time.perf_counter()
            alice, _ = await link.block(PULSES)
            found.append(8 * len(alice.key) / (time.perf_counter() - began))
    return found


def lines(found: dict[str, Any]) -> list[Line]:
    """The rows of docs/benchmarks.md."""
    rows = [_record_line(size, rounds) for size, rounds in found["records"].items()]
    for name, seconds in found["rekey"].items():
        ordered = sorted(seconds)
        late = ordered[int(0.95 * (len(ordered) - 1))]
        detail = (
            f"p95 {late * 1e3:.1f} ms, {len(ordered)} epochs; from the wish to its use, both ends one process"
        )
        rows.append((f"a new epoch of a trunk, {name}", f"{statistics.median(ordered) * 1e3:.1f} ms", detail))
    bits = found["distilled_bits_a_second"]
    detail = f"{len(bits)} blocks of 10^9 pulses; the light and both ends of the link in one process"
    rows.append(("secret bits distilled a wall second, 50 km", f"{statistics.median(bits):,.0f}", detail))
    return rows


def _record_line(size: str, rounds: list[dict[str, float]]) -> Line:
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    to_bare = statistics.median(each["trunk"] / each["bare"] for each in rounds)
    to_carrier = statistics.median(each["trunk"] / each["carrier"] for each in rounds)
    detail = (
        f"the carrier alone {middle['carrier_rate']:,.0f}; CPU of both ends {middle['trunk']:.1f} us "
        f"({middle['sender']:.1f} and {middle['receiver']:.1f}): **{to_carrier:.2f}** times the carrier's "
        f"{middle['carrier']:.1f}, **{to_bare:.1f}** times bare AES-256-GCM's {middle['bare']:.2f}"
    )
    return f"trunk over TCP, records of {size} B a second", f"{middle['trunk_rate']:,.0f}", detail
