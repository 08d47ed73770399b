"""Trunks to other hubs: how far each has come, what came over it, and what it says of itself."""

import sqlalchemy as sa
from alembic import op

from handfast_hub.registry.schema import RowId

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the five tables of trunks."""
    op.create_table(
        "trunk_sent",
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("kind", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("acked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trunk", "kind", name="pk_trunk_sent"),
    )
    op.create_table(
        "trunk_taken",
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("kind", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("life", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trunk", "kind", "life", name="pk_trunk_taken"),
    )
    op.create_table(
        "trunk_readings",
        sa.Column("id", RowId, nullable=False),
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("degraded", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.LargeBinary(8), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("arrived_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trunk_readings"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trunk_commands",
        sa.Column("command_id", sa.LargeBinary(16), nullable=False),
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("command", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("command_id", name="pk_trunk_commands"),
    )
    op.create_table(
        "trunk_status",
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("trunk", name="pk_trunk_status"),
    )
