"""Networks of several KMEs: as text, applied, with key in store or with light that makes some."""

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from installation import GOOD_OPTICS, client, free_ports, process, running, until

from handfast.core.errors import Error, ReplayError
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.kme_answers import Key
from handfast_kme.apply import carry_out, plan
from handfast_kme.installed import Folder, first_one_time_keys
from handfast_kme.kme import Kme
from handfast_kme.network import Network, load_network
from handfast_kme.store import Store

TWO = [{"handfast_disjoint_paths": 2}]
# Two ways from a to d that share no relay.
DIAMOND = ("ab", "bd", "ac", "cd")


def network_of(
    folder: Path,
    links: Sequence[str],
    pairs: Sequence[str] = ("ad",),
    *,
    more: str = "",
    of_link: str = "",
    of_pair: dict[str, str] | None = None,
    pulses: int = 15_000_000,
    room: int = 600,
    edit: Callable[[str], str] = lambda text: text,
) -> tuple[Network, Path]:
    """Apply a network: nodes of one letter, a link "ab" between a and b, an SAE "sae-a" at every node, a
    consumer link for each of `pairs`."""
    nodes = sorted(set("".join(links)))
    ports = iter(free_ports(2 * len(nodes) + len(links)))
    text = ['[group]\nname = "test"']
    for uid, node in enumerate(nodes, 1):
        text.append(
            f'[[node]]\nname = "{node}"\nuid = {uid}\nport = {next(ports)}\npeer_port = {next(ports)}'
        )
        text.append(f'[[consumer]]\nname = "sae-{node}"\nnode = "{node}"')
    for link in links:
        text += [f'[[provider]]\nname = "{link}-{end}"\nnode = "{end}"' for end in link]
        text.append(
            f'[[provider_link]]\nname = "{link}"\nproviders = ["{link}-{link[0]}", "{link}-{link[1]}"]\n'
            f"line_port = {next(ports)}\npulses = {pulses}\npace = 0\nmax_keys = {room}\n"
            f"optics = {GOOD_OPTICS}\n{of_link}"
        )
    for pair in pairs:
        text.append(f'[[consumer_link]]\nconsumers = ["sae-{pair[0]}", "sae-{pair[1]}"]')
        text.append((of_pair or {}).get(pair, ""))
    file = folder / "network.toml"
    file.write_text(edit("\n".join([*text, more])))
    network = load_network(file)
    carry_out(plan(network), lambda step: None)
    return network, file


def fill(network: Network, keys: int, links: Sequence[str] = ()) -> None:
    """The same cells at both ends of links, as a block would have left them; before the KMEs run."""
    for link in network.provider_link:
        if links and link.name not in links:
            continue
        key = os.urandom(32 * keys)
        for end in network.ends(link):
            store = Store(Folder(network.group.folder).store(end.name), only_look=True)
            psk = Folder(network.group.folder).psk_at_node(end.name, link.name)
            store.import_one_time(link.name, dict(first_one_time_keys(psk)))
            store.add_block(link.name, store.next_block(link.name), key, {})
            store.close()


def held(network: Network, node: str, link: str) -> int:
    """Cells of a link at one end."""
    store = Store(Folder(network.group.folder).store(node), only_look=True)
    try:
        return store.count(link)
    finally:
        store.close()


@contextlib.contextmanager
def kmes(
    network: Network, file: Path, *, lines: bool = False
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A process for each KME, by node, and one for each line when there is to be light."""
    with contextlib.ExitStack() as stack:
        if lines:
            for link in network.provider_link:
                stack.enter_context(process(file, "--line", link.name))
        yield {node.name: stack.enter_context(process(file, "--node", node.name)) for node in network.node}


async def asked(kme: KmeClient, peer: str, **more: Any) -> list[Key] | None:
    """Keys, or nothing while the other KMEs are waited for; a key that came before is never swallowed."""
    try:
        return await kme.enc_keys(peer, **more)
    except ReplayError:
        raise
    except Error:
        return None


async def ready(kme: KmeClient, peer: str, least: int = 1, ways: int = 1) -> None:
    """Wait until a KME can give that many keys to `peer`, and knows so many ways."""

    async def enough() -> bool:
        with contextlib.suppress(Error):
            status = await kme.status(peer)
            known = status.extension["handfast_disjoint_paths"] >= ways
            return known and status.stored_key_count >= least and bool(status.extension["handfast_link_up"])
        return False

    await until(enough)


class World:
    """KMEs in this process, their stores filled by hand."""

    def __init__(
        self, kmes: dict[str, Any], stack: contextlib.AsyncExitStack, network: Network, folder: Path
    ) -> None:
        self.kmes: dict[str, Kme] = kmes
        self._stack, self._network, self._folder = stack, network, folder

    async def sae(self, node: str, **more: Any) -> KmeClient:
        """The client of the SAE at a node; it ends with the KMEs."""
        name = f"sae-{node}"
        made = client(self._network, name, self._folder / name, **more)
        return await self._stack.enter_async_context(made)

    def cells(self, link: str) -> list[int]:
        """How many a link has at each of its ends."""
        return [kme.store.count(link) for kme in self.kmes.values() if link in kme.links]


@contextlib.asynccontextmanager
async def world(folder: Path, *args: Any, keys: int = 60, **more: Any) -> AsyncIterator[World]:
    """The network of `network_of(folder, *args, **more)` with `keys` cells on each link, no light."""
    network, _ = network_of(folder, *args, **more)
    fill(network, keys)
    async with running(network, line=False) as kmes, contextlib.AsyncExitStack() as stack:
        yield World(kmes, stack, network, folder)
