"""The database, by the one file that names it."""

import os
from pathlib import Path

import psycopg


def connect() -> psycopg.Connection:
    # The scheme names the driver, as SQLAlchemy has it.
    url = Path(os.environ["SQL_URL_FILE"]).read_text()
    return psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:", 1), connect_timeout=3)
