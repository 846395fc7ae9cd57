"""Transfers into a store elsewhere that have begun, and which of their parts have landed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "transfers",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("part_size", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text),
        sa.Column("begun_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "landed_parts",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("etag", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
