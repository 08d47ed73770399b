"""Swarms against a real hub over a broker in memory: a bad network, revocation, no nonce twice."""

from collections.abc import Callable

from handfast.testing import LossyLink
from handfast_cpython.swarm import Swarm
from handfast_hub.memory_hub import MemoryHub


async def test_fifty_devices_onboard_over_a_bad_link(swarm: Callable[..., Swarm], hub: MemoryHub) -> None:
    link = LossyLink(loss=0.1, duplicate=0.05, reorder=3, seed=7)
    async with swarm(devices=50, link=link, seed=7) as fleet:
        summary = await fleet.onboard(within=600)
        assert fleet.count("active") == 50, summary
        victim = fleet.devices[0]
        await hub.revoke(fleet.thumbprint(victim), "lost")
        await victim.device.send(b"am I still there?")
        await hub.fake_clock.advance(10)
        assert victim.state == "refused"
        assert fleet.count("active") == 49
        assert fleet.reused_nonces() == []
