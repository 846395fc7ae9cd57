"""Uploads, and what was published under each content key."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.LargeBinary),
        sa.Column("folder", sa.String(16), nullable=False),
        sa.Column("extension", sa.String(16), nullable=False),
        sa.Column("media_type", sa.String(127), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("sha256", sa.String(64)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("reason", sa.String(16)),
        sqlite_with_rowid=False,
    )
    due, ended = sa.text("status = 'received'"), sa.text("status IN ('stored', 'gone')")
    op.create_index("uploads_due", "uploads", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_index("uploads_ended", "uploads", ["updated_at"], sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        "contents",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
