"""Bring the database to this release."""

from api.database import connect

with connect() as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS migrated (at timestamptz NOT NULL DEFAULT now())")
    connection.execute("INSERT INTO migrated DEFAULT VALUES")
