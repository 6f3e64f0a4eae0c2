"""What is written by the clients."""

import sqlalchemy as sa
from alembic import op

revision = "a000000000001"
down_revision = None


def upgrade() -> None:
    op.create_table("written", sa.Column("id", sa.Integer, primary_key=True), sa.Column("client", sa.Text, nullable=False))
