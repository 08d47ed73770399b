"""A command may say that to carry it out twice is as good as once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add `commands.repeatable`; those that there are may not be repeated."""
    op.add_column("commands", sa.Column("repeatable", sa.Integer(), nullable=False, server_default="0"))
