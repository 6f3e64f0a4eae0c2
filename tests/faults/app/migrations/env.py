"""Migrations of the application of the fault tests."""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import create_engine, make_url

url = os.environ.get("DATABASE_URL") or Path(os.environ["DATABASE_URL_FILE"]).read_text()
with create_engine(make_url(url).set(drivername="postgresql+psycopg2")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
