"""The schema's history: alembic steps, one file each, never edited after a release."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from handfast_hub.registry.engine import RegistryError

# The newest step in `versions`; a test compares.
HEAD = "0006"

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


def revision(connection: Connection) -> str | None:
    """The step that this database is at, None for an empty one."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(sa.select(_VERSION.c.version_num))


def upgrade(engine: Engine) -> None:
    """Move the database to HEAD, in one transaction; RegistryError when it comes from the future."""
    with engine.connect().execution_options(reading=True) as connection:
        at = revision(connection)
    if at == HEAD:
        return
    # Alembic takes as long to import as all the rest, and is needed once in a release.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    if at not in {None, *(step.revision for step in ScriptDirectory.from_config(config).walk_revisions())}:
        raise RegistryError(
            f"the database has the schema {at} and this handfast knows none above {HEAD};"
            " install the handfast that wrote it"
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
