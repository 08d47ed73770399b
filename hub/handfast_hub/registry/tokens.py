"""Enrolment tokens: made here, shown once, and known to the running hub by their id.

A single token admits one device and enters its keys; a batch is many single tokens whose secrets
are derived from one (docs/protocol.md section 2.2); a shared token admits up to `quota` devices and
enters no key. The secret is sealed in the database, appears in no list and in no log.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core import ead
from handfast.core.constants import CUSTOM_BATCH, K_TOK_LENGTH, TOKEN_ID_LENGTH
from handfast.core.errors import LocalError
from handfast.core.token import Token
from handfast.ports import Crypto
from handfast_hub.registry.decisions import note
from handfast_hub.registry.reads import CLOCK_TOLERANCE
from handfast_hub.registry.schema import batches, tokens
from handfast_hub.vault import Vault

_SEAL_ID_LENGTH = 16
_GATE_KEYS_KEPT = 100_000
# Devices that one shared token may admit, and tokens in one batch.
QUOTA_LIMIT = 1_000_000
BATCH_LIMIT = 100_000


class NewTokens(NamedTuple):
    """What to make: `number` single tokens, or one shared token for `quota` devices. Times in seconds."""

    label: str
    number: int
    shared: bool
    quota: int
    expires_at: float
    now: float


class TokenInfo(NamedTuple):
    """A token as lists show it; `state` is live, bound, used, exhausted, expired, withdrawn,
    or early: made later than the clock shows, which was set back."""

    token_id: bytes
    label: str
    state: str
    shared: bool
    quota: int
    used: int
    expires_at: float
    created_at: float


class TokenMint:
    """Makes tokens; sealed by `vault`, with randomness from `random`."""

    def __init__(self, vault: Vault, crypto: Crypto, random: Callable[[int], bytes]) -> None:
        self._vault = vault
        self._crypto = crypto
        self._random = random

    def __call__(self, connection: Connection, items: Sequence[NewTokens]) -> list[list[Token] | Exception]:
        """The tokens of each item, to be shown once; an exception says what is wrong with it."""
        outcomes: list[list[Token] | Exception] = []
        for item in items:
            fault = _fault(item)
            if fault:
                outcomes.append(LocalError(fault))
                continue
            made = self._batch(connection, item) if item.number > 1 else [self._one(connection, item)]
            kind = "shared" if item.shared else "single"
            note(connection, item.now, "token", None, f"{len(made)} {kind} {item.label}".rstrip())
            outcomes.append(made)
        return outcomes

    def _one(self, connection: Connection, item: NewTokens) -> Token:
        token = Token(self._random(TOKEN_ID_LENGTH), self._random(K_TOK_LENGTH), item.shared)
        sealed = self._vault.seal(token.k_tok, token_aad(token.token_id))
        connection.execute(sa.insert(tokens).values({**_row(item, token.token_id), "sealed_k_tok": sealed}))
        return token

    def _batch(self, connection: Connection, item: NewTokens) -> list[Token]:
        k_batch, seal_id = self._random(K_TOK_LENGTH), self._random(_SEAL_ID_LENGTH)
        inserted = connection.execute(
            sa.insert(batches).values(
                label=item.label,
                seal_id=seal_id,
                sealed_k_batch=self._vault.seal(k_batch, batch_aad(seal_id)),
                created_at=item.now,
            )
        ).inserted_primary_key
        made = []
        for _ in range(item.number):
            token_id = self._random(TOKEN_ID_LENGTH)
            made.append(Token(token_id, batch_secret(self._crypto, k_batch, token_id), False))
        rows = [{**_row(item, token.token_id), "batch": inserted[0]} for token in made] if inserted else []
        connection.execute(sa.insert(tokens), rows)
        return made


class TokenStock:
    """Every token of the registry, in memory, so that a GATE costs no look-up in the database.

    Secrets stay sealed until they are asked for. `load` reads what was added since the last time.
    """

    def __init__(self, vault: Vault, crypto: Crypto) -> None:
        self._vault = vault
        self._crypto = crypto
        self._tokens: dict[bytes, tuple[int | None, bytes | None, bool]] = {}
        self._batches: dict[int, tuple[bytes, bytes]] = {}
        self._gate_keys: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def load(self, connection: Connection, items: Sequence[None]) -> list[None]:
        """Read the tokens anew. Expired and used ones stay: their holders are refused, not ignored."""
        every = sa.select(tokens.c.token_id, tokens.c.batch, tokens.c.sealed_k_tok, tokens.c.shared)
        found = {row[0]: (row[1], row[2], bool(row[3])) for row in connection.execute(every)}
        secrets = sa.select(batches.c.id, batches.c.seal_id, batches.c.sealed_k_batch)
        self._batches = {row[0]: (row[1], row[2]) for row in connection.execute(secrets)}
        self._tokens = found
        # A copy: this is the database's thread, and the event loop goes on with the gate.
        for token_id in self._gate_keys.copy():
            if token_id not in found:
                self._gate_keys.pop(token_id, None)
        return [None] * len(items)

    def gate_key(self, token_id: bytes) -> tuple[bytes | None, Token | None]:
        """K_gate of the token with this id, 32 bytes, or None; and the token, if it was unsealed for that.

        Kept in memory: a token_id can be seen at the broker, and whoever repeats it with a wrong MAC
        shall cost one hash each time and not an unsealing.
        """
        key = self._gate_keys.get(token_id)
        if key is not None:
            return key, None
        token = self.find(token_id)
        if token is None:
            return None, None
        if len(self._gate_keys) >= _GATE_KEYS_KEPT:
            self._gate_keys.pop(next(iter(self._gate_keys)))
        key = self._gate_keys[token_id] = ead.gate_key(self._crypto, b"", token)
        return key, token

    def find(self, token_id: bytes) -> Token | None:
        """The token with this id, or None."""
        found = self._tokens.get(token_id)
        if found is None:
            return None
        batch, sealed, shared = found
        if sealed is not None:
            return Token(token_id, self._vault.open(sealed, token_aad(token_id)), shared)
        if batch is None:
            return None
        seal_id, sealed_batch = self._batches[batch]
        k_batch = self._vault.open(sealed_batch, batch_aad(seal_id))
        return Token(token_id, batch_secret(self._crypto, k_batch, token_id), shared)


def list_tokens(connection: Connection, items: Sequence[float]) -> list[list[TokenInfo]]:
    """All tokens as they stand at the time `now` of each item, newest first; no secret."""
    statement = sa.select(tokens).order_by(tokens.c.created_at.desc())
    rows = connection.execute(statement).all()
    return [
        [
            TokenInfo(
                token_id=row.token_id,
                label=row.label,
                state=_state(row, now),
                shared=bool(row.shared),
                quota=row.quota,
                used=row.used,
                expires_at=row.expires_at,
                created_at=row.created_at,
            )
            for row in rows
        ]
        for now in items
    ]


def withdraw(connection: Connection, items: Sequence[tuple[bytes, float]]) -> list[Exception | None]:
    """Take back the tokens (token_id, now); keys that were made with them and spoke stay."""
    outcomes: list[Exception | None] = []
    for token_id, now in items:
        of_token = sa.and_(tokens.c.token_id == token_id, tokens.c.withdrawn_at.is_(None))
        changed = connection.execute(sa.update(tokens).where(of_token).values(withdrawn_at=now)).rowcount
        if changed:
            note(connection, now, "withdrawn", None, token_id.hex())
        outcomes.append(
            None if changed else LocalError(f"no token {token_id.hex()} that could be taken back")
        )
    return outcomes


def token_aad(token_id: bytes) -> bytes:
    """What the sealed K_tok of a token is bound to."""
    return b"token" + token_id


def batch_aad(seal_id: bytes) -> bytes:
    """What a sealed K_batch is bound to."""
    return b"batch" + seal_id


def batch_secret(crypto: Crypto, k_batch: bytes, token_id: bytes) -> bytes:
    """K_tok of one token of a batch, 32 bytes."""
    return crypto.kmac256(k_batch, token_id, K_TOK_LENGTH, CUSTOM_BATCH)


def _fault(item: NewTokens) -> str:
    if item.expires_at <= item.now:
        return "a token must expire in the future"
    if not 1 <= item.number <= BATCH_LIMIT:
        return f"a batch has 1 to {BATCH_LIMIT} tokens, {item.number} were asked for"
    if item.shared and item.number > 1:
        return "a token is shared or one of a batch, not both"
    if not 1 <= item.quota <= QUOTA_LIMIT:
        return f"a quota is 1 to {QUOTA_LIMIT} devices, {item.quota} were asked for"
    if item.quota > 1 and not item.shared:
        return "only a shared token has a quota; a single one admits one device"
    return ""


def _row(item: NewTokens, token_id: bytes) -> dict[str, object]:
    return {
        "token_id": token_id,
        "label": item.label,
        "quota": item.quota,
        "used": 0,
        "shared": int(item.shared),
        "expires_at": item.expires_at,
        "created_at": item.now,
    }


def _state(row: sa.Row[Any], now: float) -> str:
    if row.withdrawn_at is not None:
        return "withdrawn"
    if row.used >= row.quota:
        if row.shared:
            return "exhausted"
        return "bound" if row.consumed_at is None else "used"
    if now >= row.expires_at:
        return "expired"
    return "early" if now < row.created_at - CLOCK_TOLERANCE else "live"
