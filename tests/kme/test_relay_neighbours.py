"""What a relay takes from the KME next to it, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from installation import until
from relays import ready, world

from handfast_kme import relay
from handfast_kme.messages import Unavailable

pytestmark = pytest.mark.usefixtures("fast_news")


async def test_what_a_neighbour_says_wrongly_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, ("ab", "bc"), ("ac",)) as here:
        first, last = await here.sae("a"), await here.sae("c")
        await ready(first, "sae-c", 10)
        control = here.kmes["a"].links["ab"].control
        assert control is not None
        [key] = await first.enc_keys("sae-c")
        before = here.cells("bc")
        head = relay.Parcel(("x",), 32, "sae-a", ("sae-c",), 1, 1, ("ab", "bc")).head(b"t" * 16)
        for name, values in (
            ("relay", (b"t" * 16, head, bytes(32), bytes(16))),
            ("relay", (b"t", b"", b"", b"")),
            ("relay", ()),
            ("pad", (b"t" * 16, [[1]], [], "a", "b")),
            ("pad", (b"t" * 16, "cells", [], "a", "b")),
            ("pad", (b"t" * 16, [[2**63, 1]], ["x"], "a", "b")),
            ("pad", (b"t" * 16, [[1, -1]], ["x"], "a", "b")),
            ("pad", (1, [], [], "a", "b")),
            ("pad", (b"t" * 16, [[1, 1]], ["x"], 1, "b")),
            ("void", ([1],)),
            ("links", ([["bc", "c", 0, 1, 9, 1, 0, 0]],)),
            ("links", ([["ab"]],)),
            ("assign", ([],)),
            ("assign", ([[]],)),
            ("assign", ([["key", "sae-a", ["sae-b"], [["1", 1]], 32]],)),
            ("assign", ([["key", "sae-a", [], [[1, 1]], 32]],)),
            ("assign", ([["key", "sae-a", ["sae-b"], [], 0]],)),
            ("nonsense", ()),
        ):
            with pytest.raises(Exception, match="refused") as raised:
                await control.call(name, *values)
            assert not isinstance(raised.value, Unavailable)
        # A key that did not come over this link cannot be voided over it.
        assert await here.kmes["b"].links["bc"].control.call("void", ["nobody"]) is True  # type: ignore[union-attr]
        assert here.cells("bc") == before
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]


@pytest.mark.parametrize(
    "message", [("answer", [1], 2), ("call", 1, [], []), ("call", [1], "links", []), ("nonsense",)]
)
async def test_a_neighbour_that_breaks_the_rules_of_the_channel_loses_the_connection_and_nothing_else(
    tmp_path: Path, message: tuple[Any, ...]
) -> None:
    async with world(tmp_path, ("ab",), ("ab",)) as here:
        first, last = await here.sae("a"), await here.sae("b")
        await ready(first, "sae-b", 10)
        end = here.kmes["b"].links["ab"]
        before, control = end.control, here.kmes["a"].links["ab"].control
        assert before is not None and control is not None
        await control._channel.send(*message)

        async def connected_anew() -> bool:
            return end.control not in (None, before)

        await until(connected_anew)
        await ready(first, "sae-b", 10)
        [key] = await first.enc_keys("sae-b")
        assert await last.dec_keys("sae-a", [key.key_id]) == [key]


async def test_a_pad_that_nothing_came_for_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, ("ab",), ("ab",)) as here:
        first = await here.sae("a")
        await ready(first, "sae-b", 10)
        control, store = here.kmes["a"].links["ab"].control, here.kmes["a"].store
        assert control is not None
        for hold in (60.0, 0.0):
            monkeypatch.setattr(relay, "_HOLD", hold)
            taken = store.take_pad("ab", 1, False, [str(hold)], 1e12)
            assert taken is not None
            cells = [list(cell) for cell in taken[0]]
            assert await control.call("pad", bytes(16), cells, [str(hold)], "sae-a", "sae-b") == []
            assert len(here.kmes["b"]._relay._pads) == 1
            await here.kmes["b"]._relay._expire()
            assert len(here.kmes["b"]._relay._pads) == (1 if hold else 0)
