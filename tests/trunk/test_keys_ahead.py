"""Keys that both hubs hold before they are needed: named in the lane, fetched ahead, used in an outage."""

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from installation import installed, process, trunk_lines
from trunk_ends import Joined
from two_hubs import arrivals, running, two_hubs, until, up

from handfast.core.errors import DecodeError
from handfast_cpython.swarm import Swarm
from handfast_hub.hub import Hub
from handfast_hub.trunk import messages
from handfast_hub.trunk.events import KeysAhead, Suspect
from handfast_hub.trunk.messages import decode_message, encode_message

IDS = [bytes([number]) * 16 for number in range(16)]


def test_each_end_names_the_keys_that_it_holds() -> None:
    joined = Joined()
    first, second = joined.ends
    # Before the first epoch there is nobody to tell.
    first.ahead(IDS, joined.now)
    joined.run(3.0)
    first.ahead(IDS, joined.now)
    joined.settle()
    assert [event for event in joined.events[1] if isinstance(event, KeysAhead)] == [KeysAhead(IDS)]
    second.ahead(IDS[:3], joined.now)
    joined.settle()
    assert [event for event in joined.events[0] if isinstance(event, KeysAhead)] == [KeysAhead(IDS[:3])]
    assert joined.errors == []


@pytest.mark.parametrize("ids", [[*IDS, bytes(16)], [bytes(15)], ["0123456789abcdef"], [None], bytes(16)])
def test_names_that_are_none_are_refused(ids: Any) -> None:
    with pytest.raises(DecodeError):
        decode_message(encode_message(messages.AHEAD, ids), frozenset((messages.AHEAD,)))


@pytest.mark.parametrize("end", [0, 1])
def test_an_alarm_at_one_end_is_told_at_the_other(end: int) -> None:
    joined = Joined()
    joined.run(3.0)
    joined.ends[end].alarm(joined.now)
    joined.settle()
    for events in joined.events:
        assert len([event for event in events if isinstance(event, Suspect)]) == 1


def keys(hub: Hub) -> dict[str, Any]:
    [status] = hub.trunks.status().values()
    found: dict[str, Any] = status["qkd_keys"]  # type: ignore[assignment]
    return found


def epochs(hub: Hub) -> tuple[int, int]:
    """The number of the hybrid lane's epoch, and how many had a QKD key."""
    [status] = hub.trunks.status().values()
    number, keyed = status["epochs"]["hybrid"]["number"], status["epochs_with_qkd"]  # type: ignore[index]
    return number, keyed  # type: ignore[return-value]


async def test_secret_stays_open_while_both_kmes_are_down_as_long_as_keys_are_held(tmp_path: Path) -> None:
    network, file = installed(tmp_path)

    def kme(name: str, peer: str) -> str:
        return trunk_lines(network, name, peer) + "kme_reserve = 4\n"

    configs = two_hubs(tmp_path, kme)
    options = (("--line", "fibre"), ("--node", "berlin"), ("--node", "vienna"))
    async with (
        running(configs[0]) as berlin,
        running(configs[1]) as vienna,
        Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=6) as fleet,
    ):
        await until(lambda: up(berlin) and up(vienna))
        await fleet.onboard(within=60)
        device = fleet.devices[0].device
        assert device is not None
        with contextlib.ExitStack() as stack:
            for option in options:
                stack.enter_context(process(file, *option))
            await until(lambda: keys(berlin)["reserve"] == keys(vienna)["reserve"] == 4)
            assert keys(berlin)["stored"] > 0
            assert keys(berlin)["relays"] == []
            command = "from handfast_hub.cli import main; main()"
            words = [
                sys.executable,
                "-c",
                command,
                "-c",
                str(tmp_path / "berlin/hub.toml"),
                "trunk",
                "status",
            ]
            said = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=True)
            assert re.search(r"\d+ \+ 4 held, (rising|never empty|not known yet|empty in)", said.stdout)
        # Both KMEs are gone. The next epochs have a QKD key each.
        number, keyed = epochs(berlin)
        await until(lambda: epochs(berlin)[0] >= number + 3)
        # Not one of them went by ML-KEM alone.
        assert epochs(berlin)[0] - number == epochs(berlin)[1] - keyed
        await device.send(b"fire", channel="alarm")

        async def crossed() -> bool:
            return await arrivals(vienna) == [b"fire"]

        await until(crossed)
        await until(lambda: keys(berlin)["reserve"] == keys(vienna)["reserve"] == 0)
