"""One end of one link in a KME: connects, distils block after block, answers calls.

Bob's end dials Alice's, twice: `distil` for post-processing in lockstep, `control` for calls both ways. Both
ends dial the line. After anything unexpected all connections are made anew and the block is forgotten.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from handfast.core.errors import Error, PeerError
from handfast_kme.alarms import Level, Watch
from handfast_kme.budgets import Purse, payer
from handfast_kme.cells import Cell
from handfast_kme.channel import Channel, open_channel
from handfast_kme.control import Calls, are_names, is_row
from handfast_kme.database import wall_clock
from handfast_kme.dials import Dials
from handfast_kme.distilling import Distilling, Place
from handfast_kme.issued import KEY_LIFETIME, Waiting
from handfast_kme.messages import Unavailable
from handfast_kme.store import Store

log = logging.getLogger("handfast_kme")

# Seconds before the next attempt to connect.
RETRY = 0.5

# What SQLite can hold.
_LARGEST = 2**62

# Answers one kind of call that came over a link: the end and the arguments.
Answer = Callable[["LinkEnd", list[Any]], Awaitable[Any]]


class LinkEnd:
    """The state of one end; `run` never ends by itself."""

    def __init__(
        self,
        place: Place,
        store: Store,
        psks: tuple[bytes, bytes],
        tls: ssl.SSLContext,
        dials: Callable[[], Dials],
        purse: Purse,
    ) -> None:
        """`psks`: of the channel to the peer, and of that to the line. `tls`: for calls under our
        certificate. `purse`: who may take how much of its keys."""
        self.purse = purse
        self.place = place
        self.name = place.link.name
        self._store, self._tls = store, tls
        self._psk, self._line_psk = psks
        self.blocks = Distilling(place, store, dials)
        self.control: Calls | None = None
        self.answers: dict[str, Answer] = {"assign": LinkEnd._assigned}
        self.trouble = "not connected yet"
        self._current: dict[str, asyncio.StreamWriter] = {}
        self._incoming: dict[str, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {
            purpose: asyncio.Queue(1) for purpose in ("distil", "control")
        }

    async def run(self) -> None:
        """Distil and answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again_and_again(self._distil))
            group.create_task(self._again_and_again(self._answer))

    @property
    def watch(self) -> Watch:
        """What this end thinks of its link."""
        return self.blocks.watch

    def check(self) -> Calls:
        """The connection over which keys may go now; Unavailable."""
        if self.watch.level >= Level.ALARM:
            why = "; ".join(self.watch.reasons)
            raise Unavailable("qber_alarm", f"QKD link {self.name} is in alarm: {why}", self.name)
        if self.control is None:
            there = self.place.peer.kme_id
            raise Unavailable("link_down", f"{there} is not reachable over QKD link {self.name}", self.name)
        return self.control

    async def assign(self, keys: list[Waiting]) -> list[Cell]:
        """Tell the peer whose keys these are; the cells that it does not have, [] when all is done.
        LinkError, Unavailable."""
        calls = self.check()
        wanted = [
            [key.key_id, key.master, list(key.slaves), [list(c) for c in key.cells], key.size] for key in keys
        ]
        return named_cells(await calls.call("assign", wanted))

    def take_connection(
        self, purpose: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Alice's end: the peer dialled. A new connection takes the place of one that waits."""
        queue = self._incoming[purpose]
        if purpose in self._current:
            # Whoever dials anew has given the old connection up.
            self._current.pop(purpose).close()
        while not queue.empty():
            queue.get_nowait()[1].close()
        queue.put_nowait((reader, writer))

    # Connections ------------------------------------------------------------------------------------

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:
                # Whatever the other end said or left out, no more ends than this connection.
                self.trouble = (
                    error.detail if isinstance(error, Error) else str(error) or type(error).__name__
                )
                log.info("%s %s: %s", self.place.me.name, self.name, self.trouble)
            await asyncio.sleep(RETRY)

    async def _peer(self, purpose: str) -> Channel:
        if self.place.is_alice:
            reader, writer = await self._incoming[purpose].get()
            self._current[purpose] = writer
        else:
            peer = self.place.peer
            reader, writer = await asyncio.open_connection(peer.address, peer.peer_port, ssl=self._tls)
            writer.write(f"{self.name} {purpose}\n".encode())
        return await self._opened(reader, writer, self._psk, not self.place.is_alice, purpose)

    async def _line(self) -> Channel:
        link = self.place.link
        reader, writer = await asyncio.open_connection(link.line_address, link.line_port, ssl=self._tls)
        role = "alice" if self.place.is_alice else "bob"
        writer.write(f"{self.name} {role}\n".encode())
        return await self._opened(reader, writer, self._line_psk, True, role)

    @staticmethod
    async def _opened(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, psk: bytes, caller: bool, purpose: str
    ) -> Channel:
        try:
            return await open_channel(reader, writer, psk, caller, purpose)
        except BaseException:
            writer.close()
            raise

    # Control ----------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        channel = await self._peer("control")
        calls = Calls(channel, self._handle)
        self.control = calls
        try:
            await calls.run()
        finally:
            self.control = None
            await channel.close()

    async def _handle(self, name: str, values: list[Any]) -> Any:
        answer = self.answers.get(name)
        if answer is None:
            raise PeerError(f"there is no call {name[:32]!r}")
        return await answer(self, values)

    async def _assigned(self, values: list[Any]) -> list[list[int]]:
        if not is_row(values, (list,)) or not values[0]:
            raise PeerError("expected at least one key")
        keys = [_waiting(row) for row in values[0]]
        self.check()
        expires = wall_clock() + KEY_LIFETIME
        missing = await self.purse.follow(
            payer(keys[0].master, keys[0].slaves[0]),
            sum(len(key.cells) for key in keys),
            partial(self._store.accept, self.name, keys, expires),
        )
        return [list(cell) for cell in missing]

    # Distillation -----------------------------------------------------------------------------------

    async def _distil(self) -> None:
        peer = await self._peer("distil")
        try:
            line = await self._line()
            try:
                await self.blocks.agree(peer)
                self.trouble = ""
                while True:
                    await self.blocks.block(peer, line)
            finally:
                await line.close()
        finally:
            await peer.close()


def named_cells(value: object) -> list[Cell]:
    """The names of cells in a message of the peer; PeerError."""
    if not isinstance(value, list) or not all(_is_cell(name) for name in value):
        raise PeerError("expected the names of cells")
    return [(block, place) for block, place in value]


def _is_cell(value: object) -> bool:
    return is_row(value, (int, int)) and all(0 <= number < _LARGEST for number in value)


def _waiting(row: object) -> Waiting:
    """A key that the peer assigned; PeerError."""
    if (
        not is_row(row, (str, str, list, list, int))
        or not are_names([*row[:2], *row[2]])
        or not row[2]
        or row[4] < 1
    ):
        raise PeerError("expected a key with id, master, slaves, cells and size")
    key_id, master, slaves, cells, size = row
    return Waiting(key_id, master, tuple(slaves), tuple(named_cells(cells)), size)
