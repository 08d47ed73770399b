"""What `handfast-hub check` looks at: each finding is one sentence and good or bad. Changes nothing."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from handfast.core.base32 import b32encode
from handfast.core.codes import encode_hub_code
from handfast.core.errors import Error
from handfast.ports import Crypto
from handfast_hub.config import HubConfig
from handfast_hub.identity import load_identity
from handfast_hub.registry import migrations
from handfast_hub.registry.engine import database_file, open_engine, quick_check, translated
from handfast_hub.registry.lease import alive
from handfast_hub.registry.schema import devices, lease
from handfast_hub.vault import Vault, open_vault

# Less than this on the disk of the database is a finding, in bytes.
_LITTLE_SPACE = 256 * 1024 * 1024
_BROKER_SECONDS = 3.0


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    good: bool
    detail: str


def check(config: HubConfig, crypto: Crypto) -> Iterator[Finding]:
    """Look at the crypto, the master key, the database, the disk, the lease and the broker."""
    missing = [number for number in config.suites if not crypto.supports(number)]
    detail = f"{crypto.name}" + (f"; suites {missing} are not supported" if missing else "")
    yield Finding("crypto", not missing, detail)
    try:
        vault = open_vault(config.master_key)
    except Error as error:
        yield Finding("master key", False, error.detail)
        return
    yield Finding("master key", True, f"{config.master_key}")
    try:
        yield from _database(config, vault, crypto)
    except Error as error:
        yield Finding("database", False, error.detail)
    path = database_file(config.database)
    if path is not None and path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        yield Finding("disk", free > _LITTLE_SPACE, f"{free // 2**20} MiB free at {path.parent}")
    yield _broker(config)


def _database(config: HubConfig, vault: Vault, crypto: Crypto) -> Iterator[Finding]:
    engine = open_engine(config.database)
    try:
        with translated(config.database), engine.connect().execution_options(reading=True) as connection:
            at = migrations.revision(connection)
            fault = quick_check(connection)
            yield Finding("database", not fault, fault or f"{config.database}, schema {at}")
            if at != migrations.HEAD:
                yield Finding("schema", at is not None, f"{at}; the next start moves it to {migrations.HEAD}")
                return
            found = load_identity(connection, vault, crypto)
            hub_id = found.identity.credential.thumbprint
            code = encode_hub_code(crypto, hub_id)
            yield Finding("identity", True, f"{found.name}, topics {b32encode(hub_id[:8])}, hub code {code}")
            yield Finding("devices", True, _devices(connection))
            yield _lease(connection)
    finally:
        engine.dispose()


def _devices(connection: Connection) -> str:
    statement = sa.select(devices.c.state, sa.func.count()).group_by(devices.c.state)
    counts = dict(sorted(tuple(row) for row in connection.execute(statement)))
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none yet"


def _lease(connection: Connection) -> Finding:
    row = connection.execute(sa.select(lease)).first()
    if row is None or not alive(row.holder, row.expires_at, time.time()):
        return Finding("hub", True, "not running")
    return Finding("hub", True, f"running as {row.holder.rpartition(':')[0]}")


def _broker(config: HubConfig) -> Finding:
    name = f"{config.mqtt.host}:{config.mqtt.port}"
    if config.mqtt.broker == "embedded":
        return Finding("broker", True, f"embedded, on {name} while the hub runs")
    try:
        with closing(socket.create_connection((config.mqtt.host, config.mqtt.port), _BROKER_SECONDS)):
            return Finding("broker", True, f"{name} answers")
    except OSError as error:
        return Finding("broker", False, f"{name} does not answer: {error}")
