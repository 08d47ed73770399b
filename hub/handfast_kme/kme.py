"""One KME, put together: its store, its ends of links, the classical channel's door, the key delivery API."""

import asyncio
import contextlib
import logging
import ssl
from functools import partial

from handfast.core.errors import LinkError
from handfast_kme.budgets import Budget, Purse
from handfast_kme.certificates import client_tls, server_tls, subject_of
from handfast_kme.channel import closed
from handfast_kme.delivery import Delivery
from handfast_kme.dials import read_dials
from handfast_kme.distilling import Place
from handfast_kme.installed import Folder, first_one_time_keys, read_psk
from handfast_kme.link_end import LinkEnd
from handfast_kme.link_states import LinkStates
from handfast_kme.network import Network
from handfast_kme.relay import Relay
from handfast_kme.routing import Router
from handfast_kme.server import Server
from handfast_kme.store import Store
from handfast_kme.tables import Node, ProviderLink

log = logging.getLogger("handfast_kme")

_FIRST_LINE = 256


def kme_subject(network: Network, node: Node) -> str:
    """The subject of a KME's certificate: its common name is the KME ID."""
    return f"CN={node.kme_id},O={network.group.name}"


def line_subject(network: Network, link: ProviderLink) -> str:
    """The subject of the certificate of a simulated line."""
    return f"CN=line-{link.name},O={network.group.name}"


class Kme:
    """A KME of `network`; `run` serves until it is cancelled."""

    def __init__(self, network: Network, node: str) -> None:
        """Open the store; KeystoreError when `handfast-kme apply` has not run."""
        self.node: Node = network.named("node", node)
        self._network = network
        self._folder = Folder(network.group.folder)
        mine = self._folder.node(node)
        self._door_tls, call_tls = server_tls(mine, "kme"), client_tls(mine, "kme")
        self.store = Store(self._folder.store(node))
        self.links: dict[str, LinkEnd] = {}
        shares = network.shares()
        for link in network.links_of(node):
            self.links[link.name] = self._end(link, call_tls, Budget(shares[link.name], link.capacity))
        self._states = LinkStates(network, node, self.store, self.links)
        self._relay = Relay(network, self.node, self.store, self.links)
        router = Router(network, self._states, shares)
        delivery = Delivery(network, self.node, self.store, self.links, router, self._relay)
        self._server = Server(delivery, self._door_tls)

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Serve; LinkError when a port is taken."""
        node = self.node
        try:
            door = await asyncio.start_server(self._enter, node.address, node.peer_port, ssl=self._door_tls)
            await self._server.start(node.address, node.port)
        except OSError as error:
            raise LinkError(f"{node.kme_id} cannot listen on {node.address}: {error}") from None
        log.info("%s delivers keys on https://%s:%d (simulated QKD)", node.kme_id, node.address, node.port)
        if ready is not None:
            ready.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_for_ever())
                for end in self.links.values():
                    group.create_task(end.run())
                group.create_task(self._states.run())
                group.create_task(self._relay.run())
        finally:
            door.close()
            await self._server.stop()
            self.store.close()

    def _end(self, link: ProviderLink, tls: ssl.SSLContext, budget: Budget) -> LinkEnd:
        alice, bob = self._network.ends(link)
        is_alice = alice.name == self.node.name
        psk_file = self._folder.psk_at_node(self.node.name, link.name)
        self.store.import_one_time(link.name, dict(first_one_time_keys(psk_file)))
        place = Place(link, self.node, bob if is_alice else alice, is_alice)
        psks = read_psk(psk_file), read_psk(self._folder.psk_at_node(self.node.name, f"{link.name}-line"))
        dials = self._folder.dials(link.name)
        purse = Purse(link.name, budget, partial(self.store.count, link.name))
        return LinkEnd(place, self.store, psks, tls, lambda: read_dials(dials), purse)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A KME dialled: its certificate says who, its first line says which link and what for."""
        subject = subject_of(writer.get_extra_info("ssl_object"))
        line = b""
        with contextlib.suppress(OSError, ValueError, EOFError, TimeoutError):
            async with asyncio.timeout(10):
                line = await reader.readuntil(b"\n")
        words = line[:_FIRST_LINE].decode("ascii", "replace").split()
        end = self.links.get(words[0]) if len(words) == 2 else None
        if end is None or not end.place.is_alice or words[1] not in ("distil", "control"):
            await closed(writer)
            return
        if subject != kme_subject(self._network, end.place.peer):
            log.warning("%s: a call of %s on a link that is not its own", self.node.kme_id, subject)
            await closed(writer)
            return
        end.take_connection(words[1], reader, writer)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
