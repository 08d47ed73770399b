"""A new hub: its master key, its database and its identity."""

import os
import time

from handfast.ports import Crypto
from handfast_cpython.crypto import Crypto as MachineCrypto
from handfast_hub import migrations
from handfast_hub.config import HubConfig
from handfast_hub.identity import create_identity, save_identity
from handfast_hub.registry_engine import create_database, open_engine, translated
from handfast_hub.vault import create_master_key, open_vault


def create_hub(config: HubConfig, crypto: Crypto | None = None) -> bytes:
    """Make what `config` names, and give the thumbprint of the new hub, 32 bytes.

    KeystoreError or RegistryError when a file is there already: nothing is ever overwritten.
    """
    crypto = crypto or MachineCrypto()
    create_master_key(config.master_key)
    create_database(config.database)
    engine = open_engine(config.database)
    try:
        with translated(config.database):
            migrations.upgrade(engine)
            with engine.begin() as connection:
                identity = create_identity(crypto, os.urandom, config.name, config.suites)
                save_identity(connection, open_vault(config.master_key), config.name, identity, time.time())
    finally:
        engine.dispose()
    thumbprint: bytes = identity.credential.thumbprint
    return thumbprint
