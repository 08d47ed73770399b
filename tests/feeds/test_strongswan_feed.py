"""strongSwan takes the keys of a trunk as PPKs: two charons in two namespaces, two hubs, simulated QKD."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fed_hubs import fed_hubs
from namespaces import Asking, missing

from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import FeedKey
from handfast_hub.feeds.settings import StrongswanFeed

LACKS = missing("charon-systemd", "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
pytestmark = pytest.mark.skipif(LACKS != "", reason=LACKS)


@pytest.fixture
def charons(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    from charons import two_charons

    with two_charons(tmp_path) as both:
        yield both


def toml(value: Any) -> str:
    """A table of hub.toml on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def consumer(own: Any, other: Any, role: str, **more: Any) -> Any:
    from handfast_hub.feeds.strongswan import Strongswan

    wanted = {"trunk": "x", "kind": "strongswan", "role": role, "socket": own.socket}
    return Strongswan("tunnel", StrongswanFeed(**wanted, connection=own.connection(other), **more))


def fed_key(epoch: int, byte: int) -> FeedKey:
    return FeedKey(epoch, bytes([epoch]) * 8, bytes([byte]) * 32)


def labels(charon: Any) -> list[str]:
    return [name for name, sa in charon.associations() if sa.get("ppk") == b"yes"]


def drops(charon: Any) -> list[Any]:
    with charon.session() as session:
        return [policy for entry in session.list_policies({"drop": "yes"}) for policy in entry.values()]


async def test_traffic_goes_on_while_each_epoch_brings_a_new_ike_sa_and_stops_with_them(
    charons: tuple[Any, Any], tmp_path: Path
) -> None:
    ends = {
        "berlin": (*charons, "initiator"),
        "vienna": (*reversed(charons), "responder"),
    }

    def feed(name: str) -> str:
        own, other, role = ends[name]
        return (
            f'kind = "strongswan"\nrole = "{role}"\nsocket = "{own.socket}"\nwithout_qkd = "close"\n'
            f"connection = {toml(own.connection(other))}\n"
        )

    first, second = charons
    async with fed_hubs(tmp_path, feed) as fed:
        await fed.reach("fed")
        await fed.rotate(1)
        assert await asyncio.to_thread(first.place.answers, second.inside)
        seen, began = set(), fed.status("berlin")["epoch"]
        with Asking(first.place, second.place, second.inside) as asking:
            for _ in range(3):
                await fed.rotate(1)
                seen.update(labels(first))
            sent, answered = await asyncio.to_thread(asking.stop)
        rotations = fed.status("berlin")["epoch"] - began
        assert sent > 20
        # The responder may use the new SA a moment before its answer has reached the initiator.
        assert sent - answered <= rotations + 1
        # Each epoch's key is in an IKE_SA of its own, named like its PPK_ID, and none without a PPK is there.
        assert len(seen) >= 3
        assert all(label.startswith("handfast-tunnel-") for label in seen)
        assert {sa.get("ppk") for _, sa in second.associations()} == {b"yes"}
        # No QKD key any more, and the one in use is suspect.
        fed.lose_kmes()
        fed.alarm("vienna")
        await fed.reach("closed")
        assert first.associations() == second.associations() == []
        assert first.ppks() == second.ppks() == []
        assert not await asyncio.to_thread(first.place.answers, second.inside)


async def test_another_ppk_under_the_same_name_is_refused_and_the_connection_before_stays(
    charons: tuple[Any, Any],
) -> None:
    first, second = charons
    initiator, responder = consumer(first, second, "initiator"), consumer(second, first, "responder")
    await responder.put(fed_key(1, 1))
    await initiator.put(fed_key(1, 1))
    [before] = labels(first)
    await responder.put(fed_key(2, 2))
    with pytest.raises(FeedError, match="the other end did not answer under the key of epoch 2"):
        await initiator.put(fed_key(2, 99))
    # One that the responder has never heard of.
    with pytest.raises(FeedError, match="the other end did not answer under the key of epoch 3"):
        await initiator.put(fed_key(3, 3))
    assert [name for name, _ in first.associations()] == [before]
    assert await asyncio.to_thread(first.place.answers, second.inside)
    await responder.put(fed_key(4, 4))
    await initiator.put(fed_key(4, 4))
    assert labels(first) == [fed_key(4, 4).label("tunnel")]
    assert first.ppks() == [fed_key(4, 4).label("tunnel")]


async def test_a_responder_keeps_three_keys_also_after_a_restart_when_epochs_count_anew(
    charons: tuple[Any, Any],
) -> None:
    first, second = charons
    responder = consumer(second, first, "responder")
    for epoch in (7, 8, 9, 10):
        await responder.put(fed_key(epoch, epoch))
    assert set(second.ppks()) == {fed_key(epoch, epoch).label("tunnel") for epoch in (8, 9, 10)}
    responder = consumer(second, first, "responder")
    await responder.put(fed_key(0, 1))
    assert set(second.ppks()) == {fed_key(epoch, 1).label("tunnel") for epoch in (9, 10, 0)}


async def test_an_initiator_that_was_restarted_ends_the_connection_of_the_run_before(
    charons: tuple[Any, Any],
) -> None:
    first, second = charons
    responder = consumer(second, first, "responder")
    for epoch in (5, 0):
        await responder.put(fed_key(epoch, 1))
        await consumer(first, second, "initiator").put(fed_key(epoch, 1))
        # Killed before it opened the connection of its next key.
        left = fed_key(epoch + 1, 1).label("tunnel")
        with first.session() as session:
            session.load_shared({"id": left, "type": "PPK", "data": bytes(32), "owners": [left]})
            session.load_conn({left: {**first.connection(second), "version": "2", "ppk_id": left}})
    await responder.put(fed_key(1, 2))
    await consumer(first, second, "initiator").put(fed_key(1, 2))
    label = fed_key(1, 2).label("tunnel")
    assert [name for name, _ in first.associations()] == labels(first) == [label]
    with first.session() as session:
        loaded = [name.decode() for name in session.get_conns()["conns"]]
    assert (first.ppks(), sorted(loaded)) == ([label], [label, "handfast-tunnel:drop"])


async def test_closing_does_not_wait_for_a_dead_end(charons: tuple[Any, Any]) -> None:
    first, second = charons
    await consumer(second, first, "responder").put(fed_key(1, 1))
    initiator = consumer(first, second, "initiator")
    await initiator.put(fed_key(1, 1))
    second.process.kill()
    second.process.wait()
    await initiator.shut()
    with first.session() as session:
        assert list(session.list_sas()) == []
    assert first.ppks() == []


async def test_what_the_operator_wrote_cannot_weaken_the_connection(charons: tuple[Any, Any]) -> None:
    first, second = charons
    weak = {**second.connection(first), "ppk_required": False, "unique": "replace", "ppk_id": "mine"}
    responder = consumer(second, first, "responder")
    settings = responder._settings.model_copy(update={"connection": weak})
    responder = type(responder)("tunnel", settings)
    await responder.prepare()
    await responder.put(fed_key(1, 1))
    with second.session() as session:
        loaded = {name: conn for entry in session.list_conns() for name, conn in entry.items()}
    dropped = drops(second)
    connection = loaded["handfast-tunnel"]
    assert connection["ppk_required"] == b"yes"
    assert connection["unique"] == b"UNIQUE_NEVER"
    assert "ppk_id" not in connection
    # What has no IKE_SA does not go in the clear.
    assert [(policy["local-ts"], policy["remote-ts"]) for policy in dropped] == [
        ([f"{second.inside}/32".encode()], [f"{first.inside}/32".encode()])
    ]
    # Not even when somebody has loaded the files of swanctl, and the feed closes.
    with second.session() as session:
        session.unload_conn({"name": "handfast-tunnel:drop"})
    assert drops(second) == []
    await responder.shut()
    assert drops(second) == dropped
    await responder.put(fed_key(1, 1))
    # An initiator without any PPK is refused.
    with first.session() as session:
        classical = {**first.connection(second), "version": "2"}
        session.load_conn({"classical": classical})
        with pytest.raises(Exception, match="establishing CHILD_SA 'inside' failed"):
            list(session.initiate({"ike": "classical", "child": "inside", "timeout": 10000}))
    assert second.associations() == []


async def test_what_is_wrong_is_said_in_one_sentence(charons: tuple[Any, Any], tmp_path: Path) -> None:
    first, second = charons
    with pytest.raises(FeedError, match="there is no vici socket .*none; start charon"):
        await type(consumer(first, second, "initiator"))(
            "tunnel",
            consumer(first, second, "initiator")._settings.model_copy(update={"socket": tmp_path / "none"}),
        ).look()
    broken = consumer(first, second, "responder")
    broken._settings.connection["local_addrs"] = ["not an address %"]
    broken._settings.connection["proposals"] = ["none such"]
    with pytest.raises(FeedError, match="charon refused: .*proposals"):
        await broken.put(fed_key(1, 1))
    with pytest.raises(ValueError, match="expected local_ts and remote_ts in the child 'inside'"):
        StrongswanFeed(
            trunk="x", kind="strongswan", role="initiator", connection={"children": {"inside": {}}}
        )
    with pytest.raises(ValueError, match="expected at least one table in 'children'"):
        StrongswanFeed(trunk="x", kind="strongswan", role="initiator", connection={})
