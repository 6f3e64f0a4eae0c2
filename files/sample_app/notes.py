"""A note: as a row, as what clients send, as what they get, and the three things that can be done with it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import BigInteger, DateTime, Identity, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from database import Base

MAX_LENGTH = 500


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    text: Mapped[str] = mapped_column(String(MAX_LENGTH))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


# PostgreSQL's text holds every character but NUL.
NoteText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LENGTH, pattern=r"^[^\x00]*$")
]
NoteId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class NoteIn(BaseModel):
    text: NoteText


class NoteOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    text: str
    created_at: datetime


def add(session: Session, note: NoteIn) -> Note:
    row = Note(text=note.text)
    session.add(row)
    session.flush()
    return row


def newest(session: Session, limit: int) -> list[Note]:
    return list(session.scalars(select(Note).order_by(Note.id.desc()).limit(limit)))


def remove(session: Session, note_id: int) -> bool:
    """Whether there was such a note."""
    return session.execute(delete(Note).where(Note.id == note_id)).rowcount == 1
