"""Who the hub is: its ML-DSA key, sealed in the registry, and the credential that goes with it."""

from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.credentials import Credential, Identity, decode_ccs, make_ccs
from handfast.core.suites import SIGNATURES, suite
from handfast.ports import Crypto
from handfast_hub.registry.engine import RegistryError
from handfast_hub.registry.schema import hub
from handfast_hub.vault import Vault

# What a sealed seed is bound to, before the hub_id.
_SEED_AAD = b"seed"


class HubRow(NamedTuple):
    """The one row of the table `hub`, opened. `identity.credential.thumbprint` is the hub_id."""

    name: str
    identity: Identity
    restores: int
    created_at: float


def create_identity(
    crypto: Crypto, random: Callable[[int], bytes], name: str, suites: tuple[int, ...]
) -> Identity:
    """A new key of the signature algorithm that `suites` need, and its credential."""
    algorithm = suite(suites[0]).signature
    seed = random(SIGNATURES[algorithm].seed)
    public_key = crypto.signature_public_key(algorithm, seed)
    return Identity(seed, make_ccs(crypto, f"handfast hub {name}", algorithm, public_key))


def save_identity(connection: Connection, vault: Vault, name: str, identity: Identity, now: float) -> None:
    """Write the row of a new hub; RegistryError when there is one."""
    if connection.execute(sa.select(hub.c.id)).first() is not None:
        raise RegistryError(
            "this database has a hub already and was left as it is; for another one use another folder"
        )
    credential: Credential = identity.credential
    connection.execute(
        sa.insert(hub).values(
            id=1,
            name=name,
            hub_id=credential.thumbprint,
            credential=credential.encoded,
            sealed_seed=vault.seal(identity.seed, _SEED_AAD + credential.thumbprint),
            born_next=0,
            restores=0,
            created_at=now,
        )
    )


def load_identity(connection: Connection, vault: Vault, crypto: Crypto) -> HubRow:
    """The hub of this database; RegistryError when there is none, KeystoreError for a wrong master key."""
    row = connection.execute(sa.select(hub)).first()
    if row is None:
        raise RegistryError("this database has no hub; run 'handfast-hub init --name NAME'")
    credential = decode_ccs(crypto, row.credential)
    seed = vault.open(row.sealed_seed, _SEED_AAD + credential.thumbprint)
    return HubRow(row.name, Identity(seed, credential), row.restores, row.created_at)
