"""Alembic runs this file; it works on the connection that `handfast_hub.registry.migrations` hands in."""

from alembic import context

from handfast_hub.registry.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
