"""The first act: a hub with its broker in one process, fifty devices in another, and what befalls them."""

from pathlib import Path

from story import Story, console, eventually
from wire import Child

HERE = Path(__file__).parent
DEVICES = 50


async def act() -> bool:
    """Tell it; whether all of it happened."""
    story = Story(f"A hub and {DEVICES} devices")
    hub, fleet = await Child.start(HERE / "hub_side.py"), await Child.start(HERE / "fleet_side.py")
    try:
        await _tell(story, hub, fleet)
    finally:
        await fleet.stop()
        await hub.stop()
    return story.end()


async def _tell(story: Story, hub: Child, fleet: Child) -> None:
    start = await hub.call("start")
    tokens = await hub.call("tokens", count=DEVICES + 1)

    async def onboard() -> int:
        summary = await fleet.call("onboard", port=start["port"], code=start["code"], tokens=tokens[:DEVICES])
        console.print(
            f"  half of them within {summary['p50']:.1f} s, all but one in a hundred within "
            f"{summary['p99']:.1f} s"
        )
        return int(summary["onboarded"])

    async def telemetry(data: str) -> object:
        await fleet.call("send", data=data)
        return await eventually(lambda: hub.call("heard", data=data), DEVICES)

    async def revoke() -> object:
        await hub.call("revoke", thumbprint=(await fleet.call("device", number=0))["thumbprint"])

        async def state() -> object:
            return (await fleet.call("states"))[0]

        return await eventually(state, "refused")

    async def after_revocation() -> object:
        await fleet.call("send", data="after the revocation")
        return await eventually(lambda: hub.call("heard", data="after the revocation"), DEVICES - 1)

    async def stuck() -> object:
        said = await fleet.call("stuck_source")
        console.print(f"  it says: {said}")
        return "no key" if said else "a key"

    async def replay() -> object:
        before = await hub.call("refused_records")
        device_id = await fleet.call("replay", token=tokens[DEVICES])
        refused = await eventually(lambda: hub.call("refused_records"), before + 1) == before + 1
        heard = await eventually(lambda: hub.call("readings", device_id=device_id), 1)
        return "taken once" if refused and heard == 1 else f"refused: {refused}, heard: {heard}"

    async def used_token() -> object:
        said = await fleet.call("used_token", token=tokens[1])
        console.print(f"  it says: {said}")
        return "refused" if said else "admitted"

    async def forged_token() -> object:
        before = await hub.call("shut_gates")
        state = await fleet.call("forged_token", token=tokens[2])
        silent = state == "trying" and await hub.call("shut_gates") > before
        return "silence" if silent else f"the device is {state}"

    async def drop() -> object:
        # The revoked device may still be there: it has two seconds to hear that it was revoked.
        return "all" if await hub.call("drop_everybody") >= DEVICES - 1 else "some"

    async def come_back() -> object:
        await fleet.call("send", data="back again")
        return await eventually(lambda: hub.call("heard", data="back again"), DEVICES - 1)

    await story.step(f"{DEVICES} devices make their keys and onboard", DEVICES, onboard())
    await story.step("all send telemetry", DEVICES, telemetry("21.5 C"))
    await story.step("all carry out a command", DEVICES, hub.call("command", data="blink"))
    await story.step("one is revoked and learns of it", "refused", revoke())
    await story.step("only the others are heard", DEVICES - 1, after_revocation())
    await story.step("one has a stuck quantum source", "no key", stuck())
    await story.step("one sends a record twice", "taken once", replay())
    await story.step("one presents a used token", "refused", used_token())
    await story.step("one forges a token", "silence", forged_token())
    await story.step("the broker drops everybody", "all", drop())
    await story.step("all come back and are heard", DEVICES - 1, come_back())
