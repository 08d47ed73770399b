"""Two hubs whose trunk is keyed by simulated QKD: real KME processes, real distillation, mutual TLS."""

import contextlib
from pathlib import Path

import pytest
from installation import client, installed, process, trunk_lines
from installation import until as eventually
from two_hubs import arrivals, running, two_hubs, until, up

from handfast_cpython.swarm import Swarm
from handfast_hub.hub import Hub
from handfast_hub.trunk.kme_answers import KmeUnreachable


def hybrid(hub: Hub) -> bool:
    return all(status["secret_open"] for status in hub.trunks.status().values())


async def test_secret_waits_for_a_qkd_key_and_comes_once_whatever_happens_to_the_kmes(tmp_path: Path) -> None:
    network, file = installed(tmp_path)

    def kme(name: str, peer: str) -> str:
        return trunk_lines(network, name, peer)

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
        # Nothing makes keys yet.
        await device.send(b"fire", channel="alarm")
        await device.send(b"21.5 C")

        async def crossed(count: int) -> bool:
            return len(await arrivals(vienna)) == count

        await until(lambda: crossed(1))
        assert await arrivals(vienna) == [b"21.5 C"]
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(process(file, *option)) for option in options]
            probe = client(network, "hub-berlin", tmp_path / "probe")

            async def stored() -> bool:
                with contextlib.suppress(KmeUnreachable):
                    return (await probe.status("hub-vienna")).stored_key_count > 50
                return False

            await eventually(stored)
            await until(lambda: hybrid(berlin) and hybrid(vienna))
            await until(lambda: crossed(2))
            # Epoch after epoch, each with a key of its own; one KME is killed meanwhile, and comes back.
            for count in range(3):
                before = berlin.trunks.status()["vienna"]["epochs_with_qkd"]
                assert isinstance(before, int)
                await device.send(b"fire %d" % count, channel="alarm")
                await until(lambda: crossed(3 + count))  # noqa: B023
                await until(
                    lambda: berlin.trunks.status()["vienna"]["epochs_with_qkd"] >= before + 2  # noqa: B023
                )
                if count == 1:
                    children[2].kill()
                    children[2].wait()
                    children[2] = stack.enter_context(process(file, *options[2]))
            await probe.close()
        found = await vienna._registry.bridging.arrivals(0, 100)
        assert [row.data for row in found] == [b"21.5 C", b"fire", b"fire 0", b"fire 1", b"fire 2"]
        # No secret reading ever travelled under an epoch of ML-KEM alone.
        assert [row.degraded for row in found if row.kind == 1] == [False] * 4


def test_a_trunk_whose_kme_is_half_configured_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="a trunk with kme needs kme_id, peer_sae"):
        two_hubs(tmp_path, lambda name, peer: 'kme = "https://127.0.0.1:1"\n')
