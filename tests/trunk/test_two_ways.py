"""Two hubs whose QKD keys come over two ways of a real network of KMEs, while one of the ways is attacked."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from installation import client, process
from installation import until as eventually
from relays import DIAMOND, fill, kmes, network_of, ready
from two_hubs import arrivals, running, two_hubs, until, up

from handfast_cpython.swarm import Swarm
from handfast_hub.hub import Hub
from handfast_hub.trunk.epochs import Epoch
from handfast_hub.trunk.lane import Lane
from handfast_hub.trunk.policy import NORMAL, SECRET
from handfast_kme.dials import turn_attack
from handfast_kme.installed import Folder
from handfast_kme.network import Network

NODES = {"berlin": "a", "vienna": "d"}
# A link whose store is full rests, and sees no attack.
ROOM = 50_000


def trunk_lines(network: Network, name: str, peer: str) -> str:
    """The KME of a hub; Berlin alone wants two ways, and has pumps whose readings are all secret."""
    sae, node = f"sae-{NODES[name]}", network.named("node", NODES[name])
    folder = Folder(network.group.folder).consumer(sae)
    lines = (
        f'kme = "https://{node.address}:{node.port}"\nkme_id = "{node.kme_id}"\n'
        f'peer_sae = "sae-{NODES[peer]}"\nkme_ca = "{folder / "ca.pem"}"\n'
        f'kme_certificate = "{folder / "sae.pem"}"\nkme_key = "{folder / "sae.key"}"\n'
    )
    if name == "berlin":
        lines += f'disjoint_paths = 2\n[[trunk.{peer}.policy]]\ntopic = "pumps/#"\nclass = "secret"\n'
    return lines


def ways_in_use(hub: Hub) -> int:
    """Over how many ways the QKD key in use came."""
    [status] = hub.trunks.status().values()
    epoch: Any = status["epochs"]
    return epoch["hybrid"]["ways"] if epoch["hybrid"] else 0


def secret_open(hub: Hub) -> bool:
    """Whether secret readings may go."""
    return all(bool(status["secret_open"]) for status in hub.trunks.status().values())


async def test_an_attack_on_one_way_stops_secret_and_not_normal_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Under how many ways each record of a class was sealed, at either hub.
    sealed: list[tuple[int, int]] = []
    seal = Lane._seal

    def noted(lane: Lane, epoch: Epoch, kind: int, data: bytes, now: float) -> None:
        sealed.append((kind, epoch.ways))
        seal(lane, epoch, kind, data, now)

    monkeypatch.setattr(Lane, "_seal", noted)
    network, file = network_of(tmp_path, DIAMOND, room=ROOM)
    fill(network, 2000, DIAMOND[:3])
    dials = Folder(network.group.folder).dials("cd")
    configs = two_hubs(tmp_path, lambda name, peer: trunk_lines(network, name, peer))
    sent: dict[int, list[bytes]] = {SECRET: [], NORMAL: []}
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(file, "--line", "cd"))
        stack.enter_context(kmes(network, file))
        probe = client(network, "sae-a", tmp_path / "probe")
        await ready(probe, "sae-d", 20, ways=2)
        async with (
            running(configs[0]) as berlin,
            running(configs[1]) as vienna,
            Swarm(devices=2, hub=berlin, clock=berlin.fake_clock, seed=8) as fleet,
        ):
            await fleet.onboard(within=60)
            pump, meter = (each.device for each in fleet.devices)
            labels = {pump.device_id: "pumps/1", meter.device_id: "meters/1"}
            for device in await berlin.operator.devices():
                await berlin.operator.approve(device.thumbprint, label=labels[device.device_id])

            async def record(text: str) -> None:
                for device, kind in ((pump, SECRET), (meter, NORMAL)):
                    sent[kind].append(f"{text} {kind}".encode())
                    await device.send(sent[kind][-1])

            async def come(*kinds: int) -> None:
                """Everything of these classes has come."""
                wanted = {data for kind in kinds for data in sent[kind]}

                async def all_here() -> bool:
                    return wanted <= set(await arrivals(vienna))

                await until(all_here)

            await until(lambda: up(berlin) and up(vienna))
            await until(lambda: secret_open(berlin) and ways_in_use(berlin) == 2)
            # Vienna was told in the opening.
            assert [hub.trunks.status()[peer]["secret_ways"] for hub, peer in (
                (berlin, "vienna"), (vienna, "berlin")
            )] == [2, 2]  # fmt: skip
            await record("before")
            await come(SECRET, NORMAL)

            turn_attack(dials, "intercept", 1.0)
            await until(lambda: not secret_open(berlin) and not secret_open(vienna))
            # The way that is clean keys the trunk on.
            await until(lambda: ways_in_use(berlin) == ways_in_use(vienna) == 1)
            waiting = len(sent[SECRET])
            for count in range(3):
                await record(f"meanwhile {count}")
                await come(NORMAL)
            assert not secret_open(berlin)
            assert not set(sent[SECRET][waiting:]) & set(await arrivals(vienna))

            turn_attack(dials, "none", 0.0)
            await eventually(lambda: _two_again(probe))
            await until(lambda: secret_open(berlin) and ways_in_use(berlin) == 2)
            await record("after")
            await come(SECRET, NORMAL)
            found = await vienna._registry.bridging.arrivals(0, 100)
        await probe.close()
    # Everything once, each class in its order, and nothing degraded while a way was clean.
    for kind, data in sent.items():
        assert [row.data for row in found if row.kind == kind] == data
    assert {row.label: row.kind for row in found} == {"pumps/1": SECRET, "meters/1": NORMAL}
    assert not any(row.degraded for row in found if b"meanwhile" not in row.data)
    assert {ways for kind, ways in sealed if kind == SECRET} == {2}
    assert 1 in {ways for kind, ways in sealed if kind == NORMAL}


async def _two_again(probe: Any) -> bool:
    status = await probe.status("sae-d")
    return bool(status.extension["handfast_disjoint_paths"] == 2)


async def test_a_hub_started_while_a_relay_is_gone_lets_secret_wait_for_the_relay(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, DIAMOND)
    fill(network, 300)
    configs = two_hubs(tmp_path, lambda name, peer: trunk_lines(network, name, peer))
    sent: list[bytes] = []
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(kmes(network, file))
        probe = client(network, "sae-a", tmp_path / "probe")
        await ready(probe, "sae-d", 20, ways=2)
        nodes["b"].kill()
        nodes["b"].wait()

        async def one_way() -> bool:
            status = await probe.status("sae-d")
            return bool(status.extension["handfast_disjoint_paths"] == 1)

        await eventually(one_way)
        async with running(configs[1]) as vienna:

            async def come(count: int) -> bool:
                return len(await arrivals(vienna)) >= count

            async with (
                running(configs[0]) as berlin,
                Swarm(devices=1, hub=berlin, clock=berlin.fake_clock, seed=12) as fleet,
            ):
                await fleet.onboard(within=60)
                device = fleet.devices[0].device
                await until(lambda: ways_in_use(berlin) == ways_in_use(vienna) == 1)
                for count in range(3):
                    sent.append(b"fire %d" % count)
                    await device.send(sent[-1], channel="alarm")
                await device.send(b"21.5 C")
                await until(lambda: come(1))
                assert await arrivals(vienna) == [b"21.5 C"]
            # It is started anew: what it has recorded still needs two ways, and there is one.
            async with running(configs[0]) as berlin:
                await until(lambda: ways_in_use(berlin) == ways_in_use(vienna) == 1)
                assert await arrivals(vienna) == [b"21.5 C"]
                stack.enter_context(process(file, "--node", "b"))
                await until(lambda: come(4))
                assert ways_in_use(berlin) == ways_in_use(vienna) == 2
                assert await arrivals(vienna) == [b"21.5 C", *sent]
                found = await vienna._registry.bridging.arrivals(0, 10)
                assert not any(row.degraded for row in found if row.kind == SECRET)
        await probe.close()
