"""A consistent copy of the registry while the hub serves, and the way back from one.

A copy is older than the devices: what they sent and received since is not known. So a restored
registry sends far above every old bound, looks 64 epochs ahead once, and asks every device to step
(docs/protocol.md section 2.8). Its trunks go on by lives (lives.py). The master key is in neither; keep
it apart.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from handfast.core import constants, hub_session
from handfast.ports import Crypto
from handfast_hub.config import HubConfig
from handfast_hub.identity import load_identity
from handfast_hub.registry import migrations
from handfast_hub.registry.decisions import note
from handfast_hub.registry.engine import (
    RegistryError,
    RegistryLocked,
    create_database,
    database_file,
    explain,
    open_engine,
    translated,
)
from handfast_hub.registry.lease import alive
from handfast_hub.registry.lives import begin_life
from handfast_hub.registry.reads import rings
from handfast_hub.registry.schema import (
    QUEUED,
    REVOKED,
    SENT,
    SHUT_OUT,
    UNANSWERED,
    commands,
    devices,
    events,
    hub,
    keys,
    lease,
)
from handfast_hub.registry.statements import Write
from handfast_hub.vault import Vault, open_vault, sync_folder

# Each later restore has to send above everything that an earlier one may have sent. The wall clock
# grows by this many numbers a second, more than a device is ever sent; the 40 bits of a PIV last
# until the year 2290.
_NUMBERS_PER_SECOND = 128
_START_OF_TIME = 1_577_836_800  # 2020-01-01
# What a clock that was set back is taken to be after the latest time in the registry: room for eleven
# million numbers, more than a device was sent since.
_WHEN_SET_BACK = 86_400.0
_CHUNK = 500


class Restored(NamedTuple):
    """What a restore did: devices with keys, revocations kept from the registry that it replaced."""

    devices: int
    revocations: int
    set_aside: Path | None


_RESTORE_KEY = Write(
    sa.update(keys)
    .where(keys.c.device == sa.bindparam("of_device"), keys.c.attempt == sa.bindparam("of_attempt"))
    .values(
        send_base=sa.bindparam("new_base"),
        send_bound=sa.bindparam("new_bound"),
        failures=sa.bindparam("new_failures"),
        sealed_previous=sa.null(),
    )
)


def backup(config: HubConfig, target: Path) -> int:
    """Copy the registry to the new file `target` with mode 0600; its size in bytes.

    The copy is one moment of the database, whatever is written meanwhile.
    """
    source = _file(config)
    if target.exists():
        raise RegistryError(f"{target} exists already and was left as it is; name a new file")
    part = target.with_name(target.name + ".part")
    # Of a backup that was killed.
    part.unlink(missing_ok=True)
    _copy(source, part)
    try:
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise RegistryError(f"cannot write {target}: {error.strerror}") from None
    return target.stat().st_size


def restore(config: HubConfig, source: Path, crypto: Crypto) -> Restored:
    """Put the copy `source` in the place of the registry, which is set aside, not deleted.

    RegistryLocked while a hub serves it; KeystoreError when the master key does not fit the copy.
    """
    place = _file(config)
    vault = open_vault(config.master_key)
    now = time.time()
    shut_out, latest = _leave(config, place, now)
    part = place.with_name(place.name + ".restoring")
    part.unlink(missing_ok=True)
    _copy(source, part)
    try:
        count = _rework(str(part), vault, crypto, shut_out, _after(now, latest))
        set_aside = _swap(part, place, now)
    finally:
        _remove(part)
    return Restored(count, len(shut_out), set_aside)


def _file(config: HubConfig) -> Path:
    path = database_file(config.database)
    if path is None:
        raise RegistryError(
            "this database is no SQLite file; use the tools of its own server, such as pg_dump"
        )
    return path


def _copy(source: Path, target: Path) -> None:
    """Copy a database file and look whether the copy is whole; RegistryError leaves nothing behind."""
    if not source.is_file():
        raise RegistryError(f"there is no {source}; name the file of a backup")
    create_database(str(target))
    try:
        with (
            closing(sqlite3.connect(f"file:{source.resolve()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            # One file, so that it can be carried away.
            new.execute("PRAGMA journal_mode = DELETE").fetchall()
            found = new.execute("PRAGMA quick_check").fetchone()
        if found is None or found[0] != "ok":
            raise RegistryError(f"{source} is damaged; take another backup")
        _sync(target)
    except sqlite3.Error as error:
        _remove(target)
        full = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR"))
        raise explain(error, str(target if full else source)) from None
    except BaseException:
        _remove(target)
        raise


def _leave(config: HubConfig, place: Path, now: float) -> tuple[dict[bytes, tuple[str, str]], float]:
    """What the registry that is going to be replaced knows: {thumbprint: (state, reason)} of those that are
    shut out, and its latest time.

    An operator's no must not be forgotten because a disk failed. What cannot be read is replaced.
    """
    if not place.exists():
        return {}, now
    engine = open_engine(config.database)
    try:
        with engine.connect().execution_options(reading=True) as connection:
            for row in connection.execute(sa.select(lease)):
                if alive(row.holder, row.expires_at, now):
                    raise RegistryLocked("a hub serves this registry; stop it before you restore")
            statement = sa.select(devices.c.thumbprint, devices.c.state, devices.c.reason)
            statement = statement.where(devices.c.state.in_(SHUT_OUT))
            shut_out = {row.thumbprint: (row.state, row.reason) for row in connection.execute(statement)}
            return shut_out, _latest(connection)
    except (exc.DBAPIError, sqlite3.Error):
        return {}, now
    finally:
        engine.dispose()


def _rework(
    database: str, vault: Vault, crypto: Crypto, shut_out: dict[bytes, tuple[str, str]], now: float
) -> int:
    """Make the copy fit to serve; how many devices have keys."""
    engine = open_engine(database)
    try:
        with translated(database):
            migrations.upgrade(engine)
            with engine.begin() as connection:
                load_identity(connection, vault, crypto)
                now = _after(now, _latest(connection))
                for thumbprint, (state, reason) in shut_out.items():
                    _shut_out(connection, thumbprint, state, reason)
                count = _move_ahead(connection, vault, now)
                connection.execute(sa.delete(lease))
                # One that waits in the copy may have been sent since, and nothing is sent twice.
                open_ones = commands.c.state.in_((QUEUED, SENT))
                unknown = sa.update(commands).where(open_ones).values(state=UNANSWERED, record=None)
                connection.execute(unknown)
                connection.execute(sa.update(hub).values(restores=hub.c.restores + 1))
                begin_life(connection, time.time())
                note(connection, now, "restored", None, f"{count} devices, {len(shut_out)} shut out")
            return count
    finally:
        engine.dispose()


def _after(now: float, latest: float) -> float:
    """A time above `latest`: a clock that was set back must not bring numbers back."""
    return now if now > latest else latest + _WHEN_SET_BACK


def _latest(connection: Connection) -> float:
    """The latest time that the registry knows of."""
    return connection.scalar(sa.select(sa.func.max(events.c.at))) or 0.0


def _shut_out(connection: Connection, thumbprint: bytes, state: str, reason: str) -> None:
    row = connection.execute(sa.select(devices.c.id).where(devices.c.thumbprint == thumbprint)).first()
    if row is None:
        return
    connection.execute(sa.delete(keys).where(keys.c.device == row.id))
    of_device = devices.c.id == row.id
    connection.execute(sa.update(devices).where(of_device).values(state=state, reason=reason))


def _move_ahead(connection: Connection, vault: Vault, now: float) -> int:
    start = max(0, int((now - _START_OF_TIME) * _NUMBERS_PER_SECOND))
    count = 0
    for chunk in _with_keys(connection):
        found = rings(connection, vault, chunk, now)
        for device in chunk:
            ring = hub_session.restored(found[device.device_id], start)
            every = ([] if ring.active is None else [ring.active]) + list(ring.pendings)
            rows = [
                {
                    "of_device": device.id,
                    "of_attempt": key.attempt,
                    "new_base": key.send_base,
                    "new_bound": key.send_bound,
                    "new_failures": key.failures,
                }
                for key in every
            ]
            _RESTORE_KEY.many(connection, rows)
        count += len(chunk)
        chosen = devices.c.id.in_([device.id for device in chunk])
        ahead = constants.RESTORED_EPOCHS_AHEAD
        connection.execute(sa.update(devices).where(chosen).values(lookahead=ahead))
    return count


def _with_keys(connection: Connection) -> Iterator[list[sa.Row[tuple[object, ...]]]]:
    """The devices that have a key, some at a time."""
    last = 0
    statement = (
        sa.select(devices)
        .where(sa.exists().where(keys.c.device == devices.c.id), devices.c.state != REVOKED)
        .order_by(devices.c.id)
        .limit(_CHUNK)
    )
    while chunk := list(connection.execute(statement.where(devices.c.id > last))):
        yield chunk
        last = chunk[-1].id


def _swap(part: Path, place: Path, now: float) -> Path | None:
    """`part` becomes the registry; what was there keeps its files under another name."""
    set_aside = None
    try:
        if place.exists():
            set_aside = place.with_name(
                f"{place.name}.before-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}"
            )
            for suffix in ("-wal", "-shm", ""):
                old = Path(f"{place}{suffix}")
                if old.exists():
                    old.rename(f"{set_aside}{suffix}")
        _sync(part)
        part.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise RegistryError(f"cannot put {place} in place: {error.strerror}") from None
    return set_aside


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
