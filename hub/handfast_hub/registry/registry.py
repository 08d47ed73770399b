"""The registry as the hub sees it: an asyncio face over one database thread (`group.py`).

Every call is one item of a group commit; what it answers is on the disk. What a call takes and gives
stands beside the transaction that does it: enrolment, delivery, traffic, devices, tokens.
"""

import asyncio
import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from handfast.core import root_key
from handfast.core.credentials import Identity
from handfast.core.errors import LocalError
from handfast.core.hub_session import Ring
from handfast.core.suites import suite
from handfast.ports import Crypto
from handfast_hub.config import HubConfig
from handfast_hub.identity import load_identity
from handfast_hub.registry import decisions, lease, migrations, traffic
from handfast_hub.registry.bridging import Bridging
from handfast_hub.registry.decisions import Ask
from handfast_hub.registry.delivery import Delivery, DeliveryTransaction
from handfast_hub.registry.engine import RegistryError, foreign_commits, open_engine, translated
from handfast_hub.registry.enrolment import (
    Pended,
    Pending,
    PendingTransaction,
    Question,
    Refusal,
    Standing,
    admission,
)
from handfast_hub.registry.group import GroupCommit, Operation
from handfast_hub.registry.operator import Operator
from handfast_hub.registry.reads import Stored
from handfast_hub.registry.retention import Trimming
from handfast_hub.registry.schema import devices, events
from handfast_hub.registry.tokens import TokenStock
from handfast_hub.registry.traffic import Answer, Command, Dispatch, RingReads, RootReads, Sent
from handfast_hub.registry.trunk_classes import TrunkClasses
from handfast_hub.trunk.settings import topic_policy
from handfast_hub.vault import open_vault

# Devices that were granted a key and have not spoken yet, kept in memory.
_FRESH_LIMIT = 10_000
# What `watch` tells of. Enrolments are not among it: the hub that made them knows.
WATCHED = ("admitted", "refused", "revoked", "token", "withdrawn", "command")
# How often the tables are trimmed, in seconds.
TRIM_SECONDS = 300.0
# How often another process is looked for, in seconds; a look costs some 60 us.
WATCH_SECONDS = 0.2


class Change(NamedTuple):
    """Something that an operator did; `device_id` is None when it is about no device."""

    number: int
    at: float
    kind: str
    thumbprint: bytes | None
    device_id: bytes | None
    detail: str


class Registry:
    """Open with `Registry.open`, close with `close`; belongs to one event loop."""

    def __init__(
        self, config: HubConfig, engine: Engine, crypto: Crypto, random: Callable[[int], bytes]
    ) -> None:
        vault = open_vault(config.master_key)
        with translated(config.database), engine.connect().execution_options(reading=True) as connection:
            found = load_identity(connection, vault, crypto)
            self._seen: int = connection.scalar(sa.select(sa.func.max(events.c.id))) or 0
        self.identity: Identity = found.identity
        self.hub_id: bytes = found.identity.credential.thumbprint
        self.tokens = TokenStock(vault, crypto)
        self._holder = lease.holder_name(random(8))
        self._engine = engine
        self._poke = asyncio.Event()
        self._fresh: OrderedDict[bytes, Stored] = OrderedDict()
        self._leased = False
        # Devices that have a key, or a last record to be told; see `knows`.
        self._known: set[bytes] = set()
        self._fence = fence = lease.Fence(self.hub_id, self._holder)
        self._group = GroupCommit(engine, config.database, config.linger_seconds)
        classes = TrunkClasses({name: topic_policy(trunk) for name, trunk in config.trunk.items()})
        kept = config.retention
        delivery = DeliveryTransaction(vault, kept.readings, kept.events, classes)
        # By rank: revocations first, so that nothing else of their group slips through; deliveries
        # before reservations, because a bound belongs to an epoch. What a serving hub writes is fenced.
        self._pend: Operation[Pending, Pended | Refusal]
        self._pend = Operation(fence.guard(PendingTransaction(vault)), rank=1)
        self._deliver = Operation(fence.guard(delivery), rank=2)
        self._reserve = Operation(fence.guard(traffic.reserve), rank=3)
        self._ask = Operation(fence.guard(decisions.ask), rank=4)
        self._dispatch = Operation(fence.guard(traffic.dispatch), rank=4)
        self._take_back = Operation(fence.guard(traffic.take_back), rank=4)
        self._expire = Operation(fence.guard(traffic.expire_commands), rank=5)
        self._trim = Operation(fence.guard(Trimming(kept)), rank=5)
        self._trim_at = 0.0
        self._load = Operation(RingReads(vault), reading=True)
        self._roots = Operation(RootReads(vault), reading=True)
        self._crypto = crypto
        self._stock = Operation(self.tokens.load, reading=True)
        changed, stock = self._changed, self._stock
        self.operator = Operator(self._group, vault, crypto, random, changed, stock)
        self.bridging = Bridging(self._group, kept.readings, changed, classes)

    @classmethod
    async def open(
        cls, config: HubConfig, crypto: Crypto, random: Callable[[int], bytes] = os.urandom
    ) -> "Registry":
        """Open the database that `init` made, moving it to the newest schema when it is older."""
        engine = open_engine(config.database)
        try:
            with translated(config.database):
                migrations.upgrade(engine)
            registry = cls(config, engine, crypto, random)
        except BaseException:
            engine.dispose()
            raise
        await registry._group.submit(registry._stock, None)
        return registry

    async def close(self) -> None:
        """Finish what waits, give the lease back and close; may be called twice."""
        if self._leased:
            self._leased = False
            # Where that cannot be written, the next process sees that this one is gone.
            with contextlib.suppress(RegistryError):
                await self._group.submit(_RELEASE, lease.Claim(self.hub_id, self._holder, time.time()))
        await self._group.close()
        self._engine.dispose()

    async def serve(self) -> int:
        """Take the lease, and give the first of 2^32 `born` numbers that no process had before.

        RegistryLocked when another process serves this hub. Call `renew` three times in
        lease.LEASE_SECONDS from then on.
        """
        await self.renew()
        self._fence.close()
        # Nobody but the holder of the lease gives keys from here on.
        self._known = await self._group.submit(_KNOWN, time.time())
        born: int = await self._group.submit(_BORN, None)
        return born

    async def renew(self) -> None:
        """Keep the lease; RegistryLocked when it was lost to another process."""
        claim = lease.Claim(self.hub_id, self._holder, time.time(), again=self._leased)
        await self._group.submit(_LEASE, claim)
        self._leased = True

    def knows(self, device_id: bytes) -> bool:
        """Whether a record of this device is worth a look into the database; asks none.

        Only a serving hub gives keys, so what it has read at its start and given since is all there is.
        A device that an operator has revoked stays known, here or by the last record that it is owed.
        """
        return device_id in self._known

    @property
    def at_work(self) -> bool:
        """Whether its thread owes somebody an answer."""
        return self._group.at_work

    async def admission(self, question: Question) -> Standing:
        """What is known of a device that wants to join."""
        return await self._group.submit(_ADMISSION, question)

    def begin_admission(
        self, question: Question, done: Callable[[Standing | None, Exception | None], None]
    ) -> None:
        """`admission` that calls `done(standing, None)` or `done(None, error)`, which must not raise."""
        self._group.begin(_ADMISSION, question, done)

    async def ask(self, ask: Ask) -> None:
        """Let a device wait for an operator, who finds it in `handfast-hub devices`."""
        await self._group.submit(self._ask, ask)

    def begin_ask(self, ask: Ask, done: Callable[[None, Exception | None], None]) -> None:
        """`ask` that calls `done(None, None)` or `done(None, error)`, which must not raise."""
        self._group.begin(self._ask, ask, done)

    async def pend(self, pending: Pending) -> Pended | Refusal:
        """Write a granted key before its message_4 leaves."""
        return self._pended(pending, await self._group.submit(self._pend, pending))

    def begin_pend(
        self, pending: Pending, done: Callable[[Pended | Refusal | None, Exception | None], None]
    ) -> None:
        """`pend` that calls `done(outcome, None)` or `done(None, error)`, which must not raise."""

        def written(outcome: Pended | Refusal | None, error: Exception | None) -> None:
            done(outcome if outcome is None else self._pended(pending, outcome), error)

        self._group.begin(self._pend, pending, written)

    def _pended(self, pending: Pending, outcome: Pended | Refusal) -> Pended | Refusal:
        if isinstance(outcome, Pended):
            self._known.add(pending.device_id)
            # Its first record comes within seconds and need not read what was just written.
            self._fresh.pop(pending.device_id, None)
            if outcome.stored is not None:
                self._fresh[pending.device_id] = outcome.stored
                if len(self._fresh) > _FRESH_LIMIT:
                    self._fresh.popitem(last=False)
        return outcome

    async def answers(self, since: float) -> list[Answer]:
        """R5 over a restart: every message_4 that may be asked for again, of keys pending since then."""
        return await self._group.submit(_ANSWERS, since)

    async def load(self, device_id: bytes, now: float) -> Stored | None:
        """A device with its ring; None when there is none. Read it once and keep it."""
        fresh = self._fresh.pop(device_id, None)
        return fresh or await self._group.submit(self._load, (device_id, now))

    async def application_key(self, device_id: bytes, purpose: str) -> bytes:
        """32 bytes, the same as `Device.key(purpose)` there; LocalError when it is not onboarded."""
        found: tuple[int, bytes] | None = await self._group.submit(self._roots, device_id)
        if found is None:
            raise LocalError(f"device {device_id.hex()} is not onboarded, so it has no key")
        k_dev = root_key.device_key(self._crypto, suite(found[0]).hash, found[1])
        return root_key.application_key(self._crypto, k_dev, purpose)

    async def deliver(self, delivery: Delivery) -> Refusal | None:
        """Commit an opened record; None for done. After a refusal the ring has to be loaded anew.

        RingOutOfDate when the record was opened with a ring that is not the one on the disk.
        """
        self._fresh.pop(delivery.before.device_id, None)
        return await self._group.submit(self._deliver, delivery)

    async def reserve(self, ring: Ring) -> Refusal | None:
        """Commit the send bound of the active key before a record beyond the old one leaves.

        RingOutOfDate when the ring did not grow from the bound that is on the disk.
        """
        self._fresh.pop(ring.device_id, None)
        return await self._group.submit(self._reserve, ring)

    async def last_records(self, device_id: bytes, epoch: int, now: float) -> list[bytes]:
        """What a revoked device is answered with, on channel 0; empty after 24 hours."""
        return await self._group.submit(_LAST, (device_id, epoch, now))

    async def waiting_commands(self, device_id: bytes, epoch: int, now: float) -> list[Command]:
        """The commands that wait for a device whose key is in `epoch`, oldest first."""
        return await self._group.submit(_COMMANDS, (device_id, epoch, now))

    async def sent_commands(self, device_id: bytes, now: float) -> list[Sent]:
        """The commands that were sent to a device and have no answer yet, oldest first."""
        return await self._group.submit(_SENT, (device_id, now))

    async def dispatch(self, dispatch: Dispatch) -> bool:
        """Mark a command as sent before its record leaves; False: send nothing."""
        return await self._group.submit(self._dispatch, dispatch)

    async def take_back(self, dispatch: Dispatch) -> None:
        """Let a command wait again whose record provably never left."""
        await self._group.submit(self._take_back, dispatch)

    async def sweep(self, now: float) -> int:
        """End the commands that are older than they should be; how many. Trims the tables now and then."""
        ended = await self._group.submit(self._expire, now)
        # Also when the clock was set back.
        if not self._trim_at - TRIM_SECONDS <= now < self._trim_at:
            trimmed = await self._group.submit(self._trim, now)
            if trimmed.tokens:
                await self._group.submit(self._stock, None)
            self._trim_at = now + (0.0 if trimmed.more else TRIM_SECONDS)
        return ended

    async def watch(self) -> AsyncIterator[Change]:
        """What operators do from now on, in this process or another, within WATCH_SECONDS.

        Tokens that were made are known to `tokens` before their change is told.
        """
        commits: int | None = -1
        while True:
            now_at = await self._group.submit(_FOREIGN, None)
            if now_at is None or now_at != commits or self._poke.is_set():
                commits = now_at
                self._poke.clear()
                changes = await self._group.submit(_CHANGES, self._seen)
                if any(change.kind == "token" for change in changes):
                    await self._group.submit(self._stock, None)
                for change in changes:
                    self._seen = change.number
                    if change.device_id is not None:
                        self._fresh.pop(change.device_id, None)
                    yield change
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._poke.wait()

    def _changed(self) -> None:
        self._poke.set()


def _changes(connection: Connection, items: Sequence[int]) -> list[list[Change]]:
    statement = (
        sa.select(events, devices.c.device_id)
        .outerjoin(devices, devices.c.thumbprint == events.c.thumbprint)
        .where(events.c.kind.in_(WATCHED))
        .order_by(events.c.id)
    )
    return [
        [
            Change(row.id, row.at, row.kind, row.thumbprint, row.device_id, row.detail)
            for row in connection.execute(statement.where(events.c.id > seen))
        ]
        for seen in items
    ]


def _foreign(connection: Connection, items: Sequence[None]) -> list[int | None]:
    return [foreign_commits(connection)] * len(items)


_ADMISSION = Operation(admission, reading=True)
_LAST = Operation(traffic.last_records, reading=True)
_ANSWERS = Operation(traffic.answers, reading=True)
_COMMANDS = Operation(traffic.waiting_commands, reading=True)
_LEASE = Operation(lease.acquire, rank=6)
_RELEASE = Operation(lease.release, rank=6)
_BORN = Operation(lease.reserve_born, rank=6)
_SENT = Operation(traffic.sent_commands, reading=True)
_KNOWN = Operation(traffic.known_devices, reading=True)
_FOREIGN = Operation(_foreign, reading=True)
_CHANGES = Operation(_changes, reading=True)
