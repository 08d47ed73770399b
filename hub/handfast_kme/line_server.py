"""The process of one simulated line: waits for both ends, then carries blocks until one of them is gone."""

import asyncio
import contextlib
import logging
import os

import numpy as np

from handfast.core.errors import Error, LinkError
from handfast_kme.certificates import server_tls, subject_of
from handfast_kme.channel import Channel, closed, open_channel
from handfast_kme.database import wall_clock
from handfast_kme.dials import read_dials
from handfast_kme.entangled import Pairs
from handfast_kme.faults import lit
from handfast_kme.installed import Folder, read_psk
from handfast_kme.kme import kme_subject
from handfast_kme.line import Line
from handfast_kme.network import Network
from handfast_kme.optics import Clicks, Optics
from handfast_kme.tables import ProviderLink

log = logging.getLogger("handfast_kme")


class LineServer:
    """Plays the light of one provider link."""

    def __init__(self, network: Network, name: str) -> None:
        self._link: ProviderLink = network.named("provider_link", name)
        self._folder = Folder(network.group.folder)
        alice, bob = network.ends(self._link)
        self._subjects = {"alice": kme_subject(network, alice), "bob": kme_subject(network, bob)}
        self._psks = {role: read_psk(self._folder.psk_at_line(name, role)) for role in ("alice", "bob")}
        self._tls = server_tls(self._folder.line(name), "line")
        self._waiting: dict[str, Channel] = {}
        self._pair = asyncio.Event()
        # Nature's own generator; no secret is drawn from it.
        nature = np.random.default_rng(int.from_bytes(os.urandom(16), "big"))
        self._line = Line(self._now, nature, self._link.pace)

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Serve until cancelled; LinkError when the port is taken."""
        link = self._link
        try:
            door = await asyncio.start_server(self._enter, link.line_address, link.line_port, ssl=self._tls)
        except OSError as error:
            raise LinkError(f"line {link.name} cannot listen on {link.line_address}: {error}") from None
        log.info("line %s: SIMULATED light on %s:%d", link.name, link.line_address, link.line_port)
        if ready is not None:
            ready.set()
        try:
            while True:
                await self._pair.wait()
                self._pair.clear()
                alice, bob = self._waiting.pop("alice"), self._waiting.pop("bob")
                await self._line.serve(alice, bob)
        finally:
            door.close()

    def _now(self) -> tuple[Optics | Pairs, Clicks]:
        dials = read_dials(self._folder.dials(self._link.name))
        optics = self._link.light()
        windows = self._link.windows()
        if windows is not None:
            optics = optics.with_loss(windows.extra_loss_db(wall_clock()))
        return lit(optics, dials.attack, dials.dial, dials.of_the_line)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = subject_of(writer.get_extra_info("ssl_object"))
        try:
            async with asyncio.timeout(10):
                name, role = (await reader.readuntil(b"\n")).decode("ascii").split()
            if name != self._link.name or subject != self._subjects[role]:
                raise LinkError(f"{subject} is not {role} of {self._link.name}")
            channel = await open_channel(reader, writer, self._psks[role], False, role)
        except (Error, OSError, EOFError, ValueError, KeyError, TimeoutError) as error:
            log.warning("line %s: a call that is none of ours: %s", self._link.name, error)
            await closed(writer)
            return
        before = self._waiting.get(role)
        self._waiting[role] = channel
        if before is not None:
            with contextlib.suppress(Exception):
                await before.close()
        if len(self._waiting) == 2:
            self._pair.set()
