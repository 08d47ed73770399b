"""What the emulated board says of each step of its life: heap, and time in which its processor ran."""

import json
from pathlib import Path
from typing import NamedTuple

from emulated_board import EmulatedBoard, World
from quantum_module import QuantumModule

# What was recorded, and how much more is let pass.
NUMBERS = Path(__file__).with_name("board_heap.json")
GROWTH = 1.05

# The steps of a first start, in their order, and of a start with a key in the flash.
ONBOARDING = (
    "imported",
    "ready_to_connect",
    "connected",
    "message_1",
    "message_2_received",
    "message_3",
    "message_4_received",
    "ready_to_connect_again",
    "connected_again",
    "record_made",
    "record_received",
)
CONNECTION = ("imported", "ready_to_connect", "connected", "record_made", "record_received")


class Figure(NamedTuple):
    """Bytes held after a collection, the most held since the figure before, busy ticks of 40 ns."""

    held: int
    peak: int
    busy: int


def smallest(kind: str) -> int:
    """The heap in bytes that a test runs in: a twentieth more than the smallest that was enough."""
    return int(json.loads(NUMBERS.read_text())["smallest"][kind] * GROWTH)


async def figures(board: EmulatedBoard, last: str = "record_received") -> dict[str, Figure]:
    """The first figure of each step up to `last`; what comes twice in an onboarding is `again` then."""
    await board.said(f"figure {last} ")
    found: dict[str, Figure] = {}
    for line in list(board.lines):
        words = line.split()
        if words[:1] == ["figure"] and len(words) == 5:
            name = words[1] + "_again" if "message_3" in found and words[1] in found else words[1]
            found.setdefault(name, Figure(*[int(word) for word in words[2:]]))
    return found


async def set_up_with_figures(
    emulated: World, module: QuantumModule, kind: str, suite: int = -21, **wiring: object
) -> EmulatedBoard:
    """A board that was set up, at its first start; `kind` is heap or busy."""
    return await emulated.set_up(module, suite, options={"figures": kind}, **wiring)
