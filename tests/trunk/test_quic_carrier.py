"""Two whole hubs whose trunk goes over QUIC on this machine, and over paths that are bad or go dark."""

from pathlib import Path

from two_hubs import arrivals, running, two_hubs, until, up

from handfast_cpython.swarm import Swarm


async def test_readings_cross_in_quic_datagrams(tmp_path: Path) -> None:
    configs = two_hubs(tmp_path, schemes=("quic",))
    async with running(configs[0]) as berlin, running(configs[1]) as vienna:
        await until(lambda: up(berlin) and up(vienna))
        async with Swarm(devices=2, hub=berlin, clock=berlin.fake_clock, seed=3) as fleet:
            await fleet.onboard(within=60)
            sent = [b"%d" % count for count in range(20)]
            for count, data in enumerate(sent):
                await fleet.devices[count % 2].device.send(data)
            # Longer than a packet: over the stream.
            sent.append(bytes(5000))
            await fleet.devices[0].device.send(sent[-1], channel="bulk")

            async def crossed() -> bool:
                return len(await arrivals(vienna)) == len(sent)

            await until(crossed)
            assert sorted(await arrivals(vienna)) == sorted(sent)
