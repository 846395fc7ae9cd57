"""An upload may be created before its length is known."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # SQLite cannot change a column: the table is made anew, and what SQLAlchemy cannot read back is said again.
    table_kwargs = {"sqlite_with_rowid": False}
    with op.batch_alter_table("uploads", table_kwargs=table_kwargs) as table:
        table.alter_column("length", existing_type=sa.BigInteger, nullable=True)
