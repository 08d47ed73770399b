"""The class of a reading on every trunk is fixed when it is recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add `readings.classes`, null for those that there are, and the table of slots."""
    op.add_column("readings", sa.Column("classes", sa.BigInteger(), nullable=True))
    op.create_table(
        "trunk_slots",
        sa.Column("trunk", sa.String(63), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("trunk", name="pk_trunk_slots"),
        sa.UniqueConstraint("slot", name="uq_trunk_slots_slot"),
    )
