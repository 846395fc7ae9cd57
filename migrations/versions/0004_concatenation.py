"""Uploads that are pieces of others, and those that are made of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("kind", sa.String(16), nullable=False, server_default="whole"))
    op.add_column("uploads", sa.Column("partials", sa.Text, nullable=False, server_default=""))
    op.add_column("uploads", sa.Column("concat", sa.LargeBinary))
    due = sa.text("status IN ('received', 'assembling')")
    op.drop_index("uploads_due", "uploads")
    op.create_index("uploads_due", "uploads", ["due_at"], sqlite_where=due, postgresql_where=due)
