"""What KMEs tell each other of links: the younger report wins, old ones go, and nobody speaks for others."""

from pathlib import Path
from typing import Any

import pytest
from relays import DIAMOND, network_of

from handfast.core.errors import PeerError
from handfast_kme import link_states
from handfast_kme.alarms import Level
from handfast_kme.installed import Folder
from handfast_kme.link_states import STALE, LinkStates, Report
from handfast_kme.store import Store

GOOD = [500, 0, 1, 16000, 40000]


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(link_states, "time", clock)
    return clock


async def heard(states: LinkStates, *rows: Any) -> None:
    await states._heard(None, [list(rows)])  # type: ignore[arg-type]


@pytest.fixture
def states(tmp_path: Path, clock: Clock) -> LinkStates:
    network, _ = network_of(tmp_path, DIAMOND)
    return LinkStates(network, "a", Store(Folder(network.group.folder).store("a")), {})


async def test_the_younger_report_wins_and_the_worse_end_counts(states: LinkStates, clock: Clock) -> None:
    await heard(states, ["bd", "b", 3000, *GOOD])
    await heard(states, ["bd", "b", 4000, 1, 0, 1, 0, 0])
    assert states.of("bd") == Report(*GOOD)
    await heard(states, ["bd", "b", 2000, 400, 0, 1, 0, 0])
    assert states.of("bd") == Report(400, 0, 1, 0, 0)
    await heard(states, ["bd", "d", 0, 450, 2, 0, 90000, 100])
    assert states.of("bd") == Report(400, 2, 0, 90000, 0)


async def test_a_report_that_nobody_renews_is_forgotten_though_it_is_passed_around(
    states: LinkStates, clock: Clock
) -> None:
    await heard(states, ["bd", "b", 0, *GOOD])
    for _ in range(60):
        clock.now += 1
        # What a neighbour gives back is as old as what we gave it.
        await heard(states, *states._rows())
    assert states.of("bd") is None
    assert STALE < 60


async def test_both_ends_of_a_link_that_falls_into_alarm_tell_of_one_alarm(
    states: LinkStates, clock: Clock
) -> None:
    alarm = [500, int(Level.ALARM), 1, 16000, 40000]
    counted = []
    for reporter, report in (("b", GOOD), ("d", GOOD), ("b", alarm), ("d", alarm), ("b", GOOD), ("b", alarm)):
        clock.now += 1
        await heard(states, ["bd", reporter, 0, *report])
        counted.append(states.alarms("bd"))
    # News of an end travels by itself: whoever looks in between must not hear of it twice.
    assert counted == [0, 0, 1, 1, 1, 1]
    for reporter, report in (("b", GOOD), ("d", GOOD), ("d", alarm)):
        clock.now += 1
        await heard(states, ["bd", reporter, 0, *report])
    assert states.alarms("bd") == 2


async def test_nobody_speaks_for_a_link_that_is_not_his_nor_for_ours(states: LinkStates) -> None:
    await heard(states, ["bd", "c", 0, *GOOD], ["ab", "a", 0, *GOOD], ["nowhere", "b", 0, *GOOD])
    assert [states.of(link) for link in ("bd", "ab", "nowhere")] == [None, None, None]


@pytest.mark.parametrize(
    "row",
    [[], "bd", ["bd", "b", 0, 500, 0, 1, 0], ["bd", "b", "0", *GOOD], ["bd", "b", 0, -1, 0, 1, 0, 0],
     ["bd", "b", 0, 5, 4, 1, 0, 0], ["bd", "b", 0, 5, 0, 1, -2, 0], [["bd"], "b", 0, *GOOD]],
)  # fmt: skip
async def test_a_report_that_is_none_is_refused(states: LinkStates, row: Any) -> None:
    with pytest.raises(PeerError):
        await heard(states, row)
    assert states.of("bd") is None
