"""An application that fails on demand: FAULT says how, EDITION only makes releases differ."""

import asyncio
import os
import threading
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response, WebSocket
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

FAULT = os.environ.get("FAULT", "")
EDITION = os.environ.get("EDITION", "")
URL = os.environ.get("DATABASE_URL") or Path(os.environ["DATABASE_URL_FILE"]).read_text()
engine = create_engine(make_url(URL).set(drivername="postgresql+psycopg2"), pool_pre_ping=True)


@asynccontextmanager
async def lifespan(app: FastAPI):
    if FAULT == "crash after 3 s":
        threading.Timer(3, os._exit, [7]).start()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
def readyz(request: Request) -> Response:
    if FAULT == "never ready":
        return Response("the fault of the test", 503)
    if FAULT == "ready for itself alone" and request.client and request.client.host != "127.0.0.1":
        return Response("the fault of the test", 500)
    if FAULT == "wrong through the front door" and "x-forwarded-for" in request.headers:
        return Response("the fault of the test", 500)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return Response("no database", 503)
    return Response("ready")


@app.get("/")
def index() -> str:
    return EDITION


@app.post("/written")
async def write(request: Request) -> str:
    client = (await request.body()).decode()

    def insert() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO written (client) VALUES (:client)"), {"client": client})

    await asyncio.to_thread(insert)
    return EDITION


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return EDITION


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(EDITION)
        await asyncio.sleep(0.2)
