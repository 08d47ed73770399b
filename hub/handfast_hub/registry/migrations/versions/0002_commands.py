"""A command that was sent keeps its record, to go out again; devices that were approved twice are mended."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add `commands.record`, and give devices with an active key the state that they should have."""
    op.add_column("commands", sa.Column("record", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE devices SET state = 'onboarded' WHERE state = 'admitted' AND EXISTS"
        " (SELECT 1 FROM keys WHERE keys.device = devices.id AND keys.active = 1)"
    )
