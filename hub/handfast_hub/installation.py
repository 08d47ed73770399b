"""A new hub: its master key, its database and its identity."""

import os
import time
from collections.abc import Callable

from handfast.ports import Crypto
from handfast_cpython.crypto import Crypto as MachineCrypto
from handfast_hub.config import HubConfig
from handfast_hub.identity import create_identity, load_identity, save_identity
from handfast_hub.registry import migrations
from handfast_hub.registry.engine import create_database, database_file, open_engine, translated
from handfast_hub.vault import create_master_key, open_vault


def create_hub(
    config: HubConfig, crypto: Crypto | None = None, random: Callable[[int], bytes] = os.urandom
) -> bytes:
    """Make what `config` names, and give the thumbprint of the new hub, 32 bytes.

    RegistryError when the database has a hub already: nothing is ever overwritten. What an earlier
    call left, because the disk was full or somebody pressed Ctrl-C, is used.
    """
    crypto = crypto or MachineCrypto()
    if not config.master_key.exists():
        create_master_key(config.master_key, random)
    vault = open_vault(config.master_key)
    file = database_file(config.database)
    if file is not None and not file.exists():
        create_database(config.database)
    engine = open_engine(config.database)
    try:
        with translated(config.database):
            migrations.upgrade(engine)
            identity = create_identity(crypto, random, config.name, config.suites)
            with engine.begin() as connection:
                save_identity(connection, vault, config.name, identity, time.time())
    finally:
        engine.dispose()
    thumbprint: bytes = identity.credential.thumbprint
    return thumbprint


def hub_id_of(config: HubConfig) -> bytes:
    """The thumbprint of the hub that `config` names, 32 bytes; RegistryError when there is none."""
    engine = open_engine(config.database)
    try:
        with translated(config.database), engine.connect() as connection:
            found = load_identity(connection, open_vault(config.master_key), MachineCrypto())
            thumbprint: bytes = found.identity.credential.thumbprint
            return thumbprint
    finally:
        engine.dispose()
