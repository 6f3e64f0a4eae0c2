"""How `alembic` runs the migrations: with the settings of the application, handed over past alembic.ini."""

import logging

from alembic import context
from sqlalchemy import NullPool, create_engine

import notes  # noqa: F401  fills Base.metadata
from database import Base
from settings import settings

logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    # Unlike a request, a migration may take its time: no statement_timeout here.
    engine = create_engine(settings.url, poolclass=NullPool, connect_args={"connect_timeout": 10})
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
