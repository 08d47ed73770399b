"""A restored hub goes on with its trunks: its lives, where each stream began, and whose a trunk is."""

import sqlalchemy as sa
from alembic import op

from handfast_hub.registry.schema import RowId

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add two tables and `trunk_sent.began`; a stream that there is begins where it has come."""
    op.create_table(
        "trunk_lives",
        sa.Column("id", RowId, nullable=False),
        sa.Column("name", sa.Integer(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trunk_lives"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trunk_peers",
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("hub_id", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("trunk", name="pk_trunk_peers"),
    )
    op.add_column("trunk_sent", sa.Column("began", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE trunk_sent SET began = acked")
    # A registry that was restored before this numbered its life by how often.
    op.execute(
        'INSERT INTO trunk_lives (name, "after", at)'
        " SELECT restores, COALESCE((SELECT MIN(acked) FROM trunk_sent), 0), 0 FROM hub WHERE restores > 0"
    )
