"""`make demo`, run as it stands there: each act tells its story, and no process of it outlives it."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest
from processes import PATIENCE, ROOT, eventually
from programs import Program, python

DEMO = ROOT / "examples" / "demo" / "run.py"
# Two hubs, the devices, the QKD installation, and there `handfast-kme serve` with two KMEs and a line.
EVERYBODY = 8


@pytest.mark.parametrize(("act", "steps"), [("fleet", 11), ("trunk", 16)])
async def test_an_act_of_the_demo_ends_well(act: str, steps: int, tmp_path: Path) -> None:
    async with python(DEMO, act, TMPDIR=str(tmp_path)) as demo:
        code = await demo.ended(10 * PATIENCE)
    said = "\n".join(demo.lines)
    assert code == 0, said
    assert demo.lines[-1] == "All of it happened.", said
    assert sum(line.endswith("…") for line in demo.lines) == steps, said
    assert "(wrong)" not in said
    assert ("SIMULATED" in said) == (act == "trunk")
    assert left_in(tmp_path) == []


async def descendants(demo: Program) -> list[psutil.Process]:
    """Every process of the demo, once all are there."""
    narrator = psutil.Process(demo.process.pid)

    async def everybody() -> bool:
        return len(narrator.children(recursive=True)) >= EVERYBODY

    await eventually(everybody, True)
    return narrator.children(recursive=True)


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
async def test_when_the_narrator_ends_no_process_stays(number: int, code: int, tmp_path: Path) -> None:
    async with python(DEMO, "trunk", TMPDIR=str(tmp_path)) as demo:
        await demo.said("$ handfast-kme serve")
        everybody = await descendants(demo)
        demo.process.send_signal(number)
        assert await demo.process.wait() == code
        _, alive = await asyncio.to_thread(psutil.wait_procs, everybody, PATIENCE)
        assert alive == []
        assert not any("Traceback" in line for line in demo.lines), demo.lines
    if number == signal.SIGINT:
        assert left_in(tmp_path) == []


async def test_an_act_that_does_not_exist_is_answered_with_those_that_do() -> None:
    async with python(DEMO, "opera") as demo:
        assert await demo.ended() == 2
    assert demo.lines[-1].endswith("there is no act 'opera'; there are fleet, trunk")
    async with python(DEMO, "--help") as demo:
        assert await demo.ended() == 0
    assert any("SIMULATED" in line for line in demo.lines)
