"""What the registry forgets: of every table that grows by itself, what is over and beyond `[retention]`.

    readings, events    the newest ones stay
    commands            of those that are over the newest ones stay; an open one ends by its own expiry
    tokens              of those that nobody can use any more the newest ones stay, with their bindings;
                        a batch goes with its last token
    farewells           until they expire

Each table loses at most LARGEST_CUT rows in one transaction, so that records do not wait for it. Keys
and devices are never trimmed: no timer deletes a pending key (R4).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast_hub.config import Retention
from handfast_hub.registry.reads import ACK_GRACE, BOUND_TOKEN_GRACE
from handfast_hub.registry.schema import (
    ANSWERED,
    EXPIRED,
    UNANSWERED,
    batches,
    bindings,
    commands,
    events,
    farewells,
    keys,
    readings,
    tokens,
)

LARGEST_CUT = 5000


class Trimmed(NamedTuple):
    """`more`: a table has more to lose, come again soon. `tokens`: how many tokens are gone."""

    more: bool
    tokens: int


class Trimming:
    """Trims every table, by one section of the configuration."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    def __call__(self, connection: Connection, items: Sequence[float]) -> list[Trimmed]:
        """Trim at the time of each item."""
        kept = self._retention
        outcomes = []
        for now in items:
            over = commands.c.state.in_((ANSWERED, EXPIRED, UNANSWERED))
            told = sa.select(farewells.c.id).where(farewells.c.expires_at <= now)
            gone = _tokens(connection, kept.tokens, now)
            counts = (
                gone,
                trim(connection, readings, kept.readings),
                trim(connection, events, kept.events),
                trim(connection, commands, kept.commands, over),
                _delete(connection, farewells.c.id, told),
            )
            outcomes.append(Trimmed(max(counts) >= LARGEST_CUT, gone))
        return outcomes


def trim(connection: Connection, table: sa.Table, keep: int, only: Any = None) -> int:
    """Remove all but about the newest `keep` rows of a table with a growing id, or those `only`; how many."""
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    old = sa.select(table.c.id).where(table.c.id <= newest - keep)
    return _delete(connection, table.c.id, old if only is None else old.where(only))


def _tokens(connection: Connection, keep: int, now: float) -> int:
    """Tokens that admit nobody any more, but for the newest; how many went."""
    dead = sa.or_(
        tokens.c.withdrawn_at.is_not(None),
        tokens.c.expires_at <= now - BOUND_TOKEN_GRACE,
        tokens.c.consumed_at <= now - ACK_GRACE,
    )
    # A pending key is promoted, or not, by what its token says then.
    asked = sa.exists().where(keys.c.token_id == tokens.c.token_id, keys.c.active == 0)
    newest = tokens.c.created_at.desc(), tokens.c.token_id
    old = sa.select(tokens.c.token_id).where(dead, ~asked).order_by(*newest).offset(keep)
    gone = connection.scalars(old.limit(LARGEST_CUT)).all()
    for at in range(0, len(gone), 500):
        part = gone[at : at + 500]
        connection.execute(sa.delete(bindings).where(bindings.c.token_id.in_(part)))
        connection.execute(sa.delete(tokens).where(tokens.c.token_id.in_(part)))
    if gone:
        connection.execute(sa.delete(batches).where(~sa.exists().where(tokens.c.batch == batches.c.id)))
    return len(gone)


def _delete(connection: Connection, column: sa.Column[Any], old: sa.Select[Any]) -> int:
    statement = sa.delete(column.table).where(column.in_(old.order_by(column).limit(LARGEST_CUT)))
    return int(connection.execute(statement).rowcount)
