"""The database, by the one variable that names it."""

import os

import psycopg


def connect() -> psycopg.Connection:
    # The scheme names the driver, as SQLAlchemy has it.
    return psycopg.connect(os.environ["SQL_URL"].replace("postgresql+psycopg:", "postgresql:", 1), connect_timeout=3)
