"""From which upload a transfer is made, since it may begin before all the bytes are known."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("transfers", sa.Column("source", sa.String(32), nullable=False, server_default=""))
