"""A small application of a workspace."""

import os
import sys
from pathlib import Path

from fastapi import FastAPI, Request
from greeting import greet
from greeting.built_with import MAKE, SECRETS

from api.database import connect

app = FastAPI()


@app.get("/health/ready")
def ready() -> dict[str, int]:
    with connect() as connection:
        return {"migrations": connection.execute("SELECT count(*) FROM migrated").fetchone()[0]}


@app.get("/")
def start() -> dict[str, object]:
    with connect() as connection:
        version = connection.execute("SHOW server_version_num").fetchone()[0]
    return {
        "greeting": greet("workspace"),
        "environment": dict(os.environ),
        "files": {path.name: path.read_bytes().decode() for path in Path("/run/secrets").iterdir()},
        "make": MAKE,
        "secrets": SECRETS,
        "python": sys.version_info[:2],
        "database": int(version) // 10000,
    }


@app.post("/noise")
def noise(kilobytes: int) -> None:
    for _ in range(kilobytes):
        # Random, so that a rotated log that is compressed stays large.
        print(os.urandom(511).hex())


@app.post("/body")
async def body(request: Request) -> int:
    """Read whatever the front door lets through."""
    return len(await request.body())
