"""Where content is published, so that a start or a command with other settings can say that they are others."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "place",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("current", sa.Text, nullable=False),
        sa.Column("former", sa.Text),
        sa.Column("since", sa.Double, nullable=False),
    )
