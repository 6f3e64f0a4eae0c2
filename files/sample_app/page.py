"""The start page: plain HTML and plain forms. All links are relative, so it works under any path of a proxy."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates
from pydantic import ValidationError
from sqlalchemy import text as sql

import notes
from database import UnavailableError, transaction
from settings import settings

LIMIT = 100
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).with_name("templates"))


def render(request: Request, status_code: int = 200, message: str | None = None, draft: str = "") -> Response:
    """Show what there is; a message and a draft come back to somebody whose form could not be taken."""
    context = {
        "settings": settings,
        "max_length": notes.MAX_LENGTH,
        "limit": LIMIT,
        "message": message,
        "draft": draft,
    }
    try:
        with transaction() as session:
            context["server_version"] = session.scalar(sql("SHOW server_version")).split()[0]
            context["notes"] = notes.newest(session, LIMIT)
    except UnavailableError as problem:
        context["problem"] = str(problem)
    return templates.TemplateResponse(request, "index.html", context, status_code, HEADERS)


@router.get("/")
def show(request: Request) -> Response:
    return render(request)


@router.post("/add")
def add(request: Request, text: Annotated[str, Form()] = "") -> Response:
    text = text.replace("\r\n", "\n")  # What a browser counts as one character, it sends as two.
    try:
        note = notes.NoteIn(text=text)
        with transaction() as session:
            notes.add(session, note)
    except ValidationError:
        return render(request, 422, f"A note takes 1 to {notes.MAX_LENGTH} characters.", text)
    except UnavailableError:
        return render(request, 503, "The note is not saved yet.", text)
    return RedirectResponse("./", 303)


@router.post("/delete")
def delete(request: Request, note_id: Annotated[notes.NoteId, Form()]) -> Response:
    try:
        with transaction() as session:
            notes.remove(session, note_id)
    except UnavailableError:
        return render(request, 503, "The note is not deleted yet.")
    return RedirectResponse("./", 303)
