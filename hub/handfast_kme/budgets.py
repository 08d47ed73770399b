"""Key budgets: who may take how much of one link, so that one greedy SAE starves no other.

Every consumer link whose keys go over a link has an account there, in cells; those that only come when
another way fails share one. An account is a token bucket, filled with what the link really makes: a block
that comes in is divided by shares. It holds at most its share of a full store; what does not fit goes to
those that are not full. So whoever was idle finds its share waiting, and what nobody else wants is not kept
from anybody. The accounts together never promise more than is in store. Both ends of a link count what either
of them spends.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from handfast_kme.messages import Unavailable

T = TypeVar("T")

# The account of everybody who has none of his own on a link.
OTHERS = ""
# Balances are fractions of cells; a cell is not refused for the last digit.
_NOTHING = 1e-6


class Budget:
    """The accounts of one link at one end. Pure: it is told what is in store."""

    def __init__(self, shares: Mapping[str, float], capacity: int) -> None:
        """`shares` by account, any positive numbers; `capacity` in cells, of a full store."""
        shares = shares or {OTHERS: 1.0}
        total = sum(shares.values())
        self._most = {name: capacity * share / total for name, share in shares.items()}
        self._balance = dict.fromkeys(shares, 0.0)
        self._stock = 0

    def settle(self, stock: int) -> None:
        """So many cells are in store now: what came since is income, what is missing is everybody's loss."""
        self._stock = stock
        promised = sum(self._balance.values())
        if promised > stock:
            for name in self._balance:
                self._balance[name] *= stock / promised
        else:
            self._divide(stock - promised)

    def allowance(self, who: str) -> int:
        """Cells that `who` may take now."""
        spare = self._stock - sum(self._balance.values())
        return int(self._balance[self._account(who)] + spare + _NOTHING)

    def spend(self, who: str, cells: int) -> None:
        """So many are gone."""
        name = self._account(who)
        own = min(self._balance[name], cells)
        self._balance[name] -= own
        self.settle(max(0, self._stock - cells))

    def share(self, who: str) -> float:
        """The part of what the link makes that is kept for `who`."""
        return self._most[self._account(who)] / sum(self._most.values())

    def _account(self, who: str) -> str:
        if who in self._balance:
            return who
        return OTHERS if OTHERS in self._balance else next(iter(self._balance))

    def _divide(self, income: float) -> None:
        while income > _NOTHING:
            wanting = {n: self._most[n] for n in self._balance if self._most[n] - self._balance[n] > _NOTHING}
            if not wanting:
                # More than a full store: spare, for whoever comes first.
                return
            total = sum(wanting.values())
            rest = 0.0
            for name, share in wanting.items():
                part = income * share / total
                taken = min(part, self._most[name] - self._balance[name])
                self._balance[name] += taken
                rest += part - taken
            income = rest


class Purse:
    """The budget of one link end, with the store behind it: looking, deciding and taking are one step."""

    def __init__(self, link: str, budget: Budget, count: Callable[[], int]) -> None:
        """`count` blocks and tells how many cells are in store."""
        self._link, self._budget, self._count = link, budget, count
        self._lock = asyncio.Lock()

    async def allowance(self, who: str) -> int:
        """Cells that `who` may take now."""
        async with self._lock:
            self._budget.settle(await asyncio.to_thread(self._count))
            return self._budget.allowance(who)

    async def spend(self, who: str, cells: int, take: Callable[[], T | None], keep: int = 0) -> T:
        """Have `take`, which blocks, take so many cells, or None, and leave at least `keep`; Unavailable when
        they are not to be had."""
        async with self._lock:
            stock = await asyncio.to_thread(self._count)
            self._budget.settle(stock)
            if stock - keep < cells:
                raise Unavailable(
                    "key_exhausted", f"QKD link {self._link} has made too few keys so far", self._link
                )
            if cells > self._budget.allowance(who):
                part = self._budget.share(who)
                raise Unavailable(
                    "key_exhausted",
                    f"{who} has used up its budget on QKD link {self._link}: "
                    f"{part:.0%} of what the link makes is its own",
                    self._link,
                )
            taken = await asyncio.to_thread(take)
            if taken is None:
                raise Unavailable(
                    "key_exhausted", f"QKD link {self._link} has made too few keys so far", self._link
                )
            self._budget.spend(who, cells)
            return taken

    async def follow(self, who: str, cells: int, take: Callable[[], T]) -> T:
        """The other end has decided and counted: do the same here."""
        async with self._lock:
            self._budget.settle(await asyncio.to_thread(self._count))
            taken = await asyncio.to_thread(take)
            self._budget.spend(who, cells)
            return taken


def payer(*saes: str) -> str:
    """The name of the account of two SAEs, whoever asks."""
    return " and ".join(sorted(saes))
