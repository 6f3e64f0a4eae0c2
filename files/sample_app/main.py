"""Notes: a small FastAPI application with PostgreSQL.

alembic upgrade head    brings the database to this release
uvicorn main:app        serves it; settings.py lists the variables that it reads
"""

from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import notes
import page
from database import UnavailableError, found_revisions, revisions, transaction
from notes import NoteId, NoteIn, NoteOut
from settings import settings

app = FastAPI(title="Notes", version=settings.release)
app.include_router(page.router)


@app.exception_handler(UnavailableError)
async def answer_unavailable(request: Request, error: UnavailableError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": "2"})


@app.exception_handler(RequestValidationError)
async def answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """FastAPI's own answer but for the input, which it fails to send back where half of a surrogate pair is in it."""
    found = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()]
    return JSONResponse({"detail": found}, 422)


@app.get("/livez", tags=["health"])
async def livez() -> dict[str, str]:
    """The process serves; it needs neither a database nor a free thread to say so."""
    return {"status": "alive", "release": settings.release}


@app.get("/readyz", tags=["health"], responses={503: {"description": "The database is away, or not migrated"}})
def readyz() -> dict[str, str]:
    """The database answers, and has the migrations that this release needs.

    One that this release does not know was made by a newer one: while that comes up, this one goes on serving.
    """
    found, (needed, known) = found_revisions(), revisions()
    at = ", ".join(sorted(found))
    if found != needed and found <= known:
        wanted = ", ".join(sorted(needed))
        raise HTTPException(503, f"The database is at migration {at or 'none'}; this release needs {wanted}.")
    return {"status": "ready", "release": settings.release, "migration": at}


@app.get("/notes", tags=["notes"], response_model=list[NoteOut])
def list_notes(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[notes.Note]:
    """The newest first."""
    with transaction() as session:
        return notes.newest(session, limit)


@app.post(
    "/notes", tags=["notes"], status_code=201, response_model=NoteOut, responses={400: {"description": "No JSON"}}
)
def create_note(note: NoteIn) -> notes.Note:
    with transaction() as session:
        return notes.add(session, note)


@app.delete("/notes/{note_id}", tags=["notes"], status_code=204, responses={404: {"description": "No such note"}})
def delete_note(note_id: NoteId) -> Response:
    with transaction() as session:
        if not notes.remove(session, note_id):
            raise HTTPException(404, f"There is no note {note_id}.")
    return Response(status_code=204)
