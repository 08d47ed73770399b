"""Two KMEs and a line as processes: both hubs get the same keys, also after kill -9 of any of the three."""

import contextlib
from pathlib import Path

from installation import clients, installed, process, until

from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import KeyLost, KeysUnavailable, KmeUnreachable


async def stored(kme: KmeClient, peer: str, least: int = 1) -> bool:
    with contextlib.suppress(KmeUnreachable):
        status = await kme.status(peer)
        return status.stored_key_count >= least and bool(status.extension["handfast_link_up"])
    return False


async def test_both_hubs_get_the_same_key_from_their_own_kme(tmp_path: Path) -> None:
    network, file = installed(tmp_path)
    with (
        process(file, "--line", "fibre"),
        process(file, "--node", "berlin"),
        process(file, "--node", "vienna"),
    ):
        async with clients(network, tmp_path, "hub-berlin", "hub-vienna") as (berlin, vienna):
            await until(lambda: stored(berlin, "hub-vienna", 50))
            sent = await berlin.enc_keys("hub-vienna", 20, 256)
            got = await vienna.dec_keys("hub-berlin", [key.key_id for key in sent], 256)
            assert got == sent
            assert len({key.value for key in got}) == 20
            # The other way round, with another size and by GET.
            [back] = await vienna.enc_keys("hub-berlin", size=1024, verb="GET")
            assert await berlin.dec_keys("hub-vienna", [back.key_id], verb="GET") == [back]
            assert len(back.value) == 128


async def test_kill_9_of_any_process_loses_no_stored_key_and_gives_none_twice(tmp_path: Path) -> None:
    network, file = installed(tmp_path, max_keys=600)
    given: dict[str, bytes] = {}
    options = (("--line", "fibre"), ("--node", "berlin"), ("--node", "vienna"))
    async with clients(network, tmp_path, "hub-berlin", "hub-vienna") as (berlin, vienna):
        with contextlib.ExitStack() as stack:
            children = {option: stack.enter_context(process(file, *option)) for option in options}
            await until(lambda: stored(berlin, "hub-vienna", 50))
            for victim in (*options, *reversed(options)):
                sent = await berlin.enc_keys("hub-vienna", 3)
                children[victim].kill()
                children[victim].wait()
                children[victim] = stack.enter_context(process(file, *victim))
                await until(lambda: stored(berlin, "hub-vienna", 10))
                await until(lambda: stored(vienna, "hub-berlin", 10))
                # What the slave's KME promised before the kill is still there.
                got = await vienna.dec_keys("hub-berlin", [key.key_id for key in sent])
                assert got == sent
                assert not set(given) & {key.key_id for key in sent}
                given |= {key.key_id: key.value for key in sent}
                # The clients remember every key, so a repeat would have been refused; both ends still agree.
                [one] = await until(lambda: asked(vienna, "hub-berlin"))
                assert await berlin.dec_keys("hub-vienna", [one.key_id]) == [one]
    assert len(set(given.values())) == len(given) == 18


async def asked(kme: KmeClient, peer: str) -> object:
    """A key, or nothing while the other KME is being waited for."""
    with contextlib.suppress(KeysUnavailable, KmeUnreachable, KeyLost):
        return await kme.enc_keys(peer)
    return None
