"""One hub process for one hub key, and the numbers that must grow from process to process.

A process that sleeps past its lease (a suspended machine, SIGSTOP) does not notice when it wakes, and
another one may have served meanwhile. So whatever a serving process writes reads the lease in the same
transaction: the name of its holder is the token that fences the sleeper off.
"""

import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast_hub.registry.engine import RegistryError, RegistryLocked
from handfast_hub.registry.schema import hub, lease
from handfast_hub.registry.statements import Read

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# A holder that does not renew for this long is taken for dead. Renewed three times as often.
LEASE_SECONDS = 30.0
# R1: each process numbers its sessions out of a block of its own. Born is below 2^63 in the
# database, so there are 2^31 starts.
BORN_BLOCK = 1 << 32

# Holders of this process; another one with our process number is a dead predecessor's.
_here: set[str] = set()


class LeaseHeld(RegistryLocked):
    """Another process serves this hub; two would seal two records under one nonce."""


class Claim(NamedTuple):
    """`holder` wants the lease of `hub_id` at the time `now`; `again` when it had it a while ago."""

    hub_id: bytes
    holder: str
    now: float
    again: bool = False


# On a database with such locks nobody takes the lease before this transaction has ended.
_HOLDER = Read(
    lambda hub_ids: sa.select(lease.c.holder).where(lease.c.hub_id.in_(hub_ids)).with_for_update(read=True)
)


class Fence:
    """What lets nothing be committed by a process that has lost its lease. Open until `close`."""

    def __init__(self, hub_id: bytes, holder: str) -> None:
        self._hub_id = hub_id
        self._holder = holder
        self._closed = False

    def close(self) -> None:
        """From now on the lease is asked for: this process serves."""
        self._closed = True

    def guard(
        self, run: Callable[[Connection, Sequence[Item]], Sequence[Outcome]]
    ) -> Callable[[Connection, Sequence[Item]], Sequence[Outcome]]:
        """`run`, which raises LeaseHeld and writes nothing when another process had the lease since."""

        def guarded(connection: Connection, items: Sequence[Item]) -> Sequence[Outcome]:
            if self._closed:
                found = _HOLDER.rows(connection, [self._hub_id])
                if not found or found[0].holder != self._holder:
                    raise LeaseHeld(_LOST)
            return run(connection, items)

        return guarded


_LOST = "another process has served this hub since this one last renewed its lease; start this one again"


def holder_name(nonce: bytes) -> str:
    """A name for a holder in this process: host, process number and a nonce."""
    name = f"{socket.gethostname()}:{os.getpid()}:{nonce.hex()}"
    _here.add(name)
    return name


def acquire(connection: Connection, items: Sequence[Claim]) -> list[Exception | None]:
    """Take the lease, or renew it; an exception names who holds it."""
    outcomes: list[Exception | None] = []
    for item in items:
        of_hub = lease.c.hub_id == item.hub_id
        row = connection.execute(sa.select(lease).where(of_hub).with_for_update()).first()
        values = {"holder": item.holder, "expires_at": item.now + LEASE_SECONDS}
        if item.again and (row is None or row.holder != item.holder):
            # Also when nobody has it now: what this process remembers is older than what is stored.
            outcomes.append(LeaseHeld(_LOST))
            continue
        if row is None:
            connection.execute(sa.insert(lease).values(hub_id=item.hub_id, **values))
        elif row.holder == item.holder or not alive(row.holder, row.expires_at, item.now):
            connection.execute(sa.update(lease).where(of_hub).values(**values))
        else:
            outcomes.append(
                LeaseHeld(
                    f"another process serves this hub ({row.holder.rpartition(':')[0]});"
                    f" end it, or wait {row.expires_at - item.now:.0f} s if it is dead"
                )
            )
            continue
        outcomes.append(None)
    return outcomes


def release(connection: Connection, items: Sequence[Claim]) -> list[None]:
    """Give the lease back, if it is ours."""
    for item in items:
        mine = sa.and_(lease.c.hub_id == item.hub_id, lease.c.holder == item.holder)
        connection.execute(sa.delete(lease).where(mine))
    return [None] * len(items)


def reserve_born(connection: Connection, items: Sequence[None]) -> list[int]:
    """For each item the first number of a block that nobody was given before."""
    firsts = []
    for _ in items:
        first = connection.scalar(sa.select(hub.c.born_next).with_for_update())
        if first is None:
            raise RegistryError("this database has no hub; run 'handfast-hub init --name NAME'")
        connection.execute(sa.update(hub).values(born_next=first + BORN_BLOCK))
        firsts.append(first)
    return firsts


def alive(holder: str, expires_at: float, now: float) -> bool:
    """Whether a lease binds: not when it ran out, its clock jumped, or its process on this host is gone."""
    if now >= expires_at or expires_at > now + 2 * LEASE_SECONDS:
        return False
    host, process, _ = (*holder.split(":"), "", "")[:3]
    if host != socket.gethostname() or not process.isdigit():
        return True
    if int(process) == os.getpid():
        return holder in _here
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
