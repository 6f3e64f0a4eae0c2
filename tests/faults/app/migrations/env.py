"""Migrations of the application of the fault tests."""

import os

from alembic import context
from sqlalchemy import create_engine, make_url

with create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
