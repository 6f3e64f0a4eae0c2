"""What the environment says."""

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt
from sqlalchemy import URL, make_url


class Settings(BaseModel, frozen=True, hide_input_in_errors=True):
    """Each field is the environment variable of the same name in upper case, or in the file that NAME_FILE names; an
    empty one counts as not set.
    """

    # DATABASE_URL, percent-encoded, goes before the five that follow it.
    database_url: str | None = Field(None, repr=False)
    db_host: str = "localhost"
    db_port: int = Field(5432, ge=1, le=65535)
    db_name: str = "notes"
    db_user: str = "notes"
    db_password: str | None = Field(None, repr=False)

    # Connections that each worker keeps, those it adds under load, and the seconds that a request waits for one. What
    # is added is closed again after a request, and its login costs several queries. With that of readiness they are 15.
    db_pool_size: PositiveInt = 14
    db_max_overflow: NonNegativeInt = 0
    db_pool_timeout: PositiveFloat = 5

    # What is running: shown to people, never interpreted.
    release: str = "development"
    revision: str | None = None

    @classmethod
    def from_environment(cls) -> Self:
        found = {name: given(name.upper()) for name in cls.model_fields}
        return cls(**{name: value for name, value in found.items() if value})

    @property
    def url(self) -> URL:
        """Where the database is. The driver is the one of requirements.txt, whatever the URL's scheme says."""
        driver = "postgresql+psycopg2"
        if self.database_url is None:
            return URL.create(driver, self.db_user, self.db_password, self.db_host, self.db_port, self.db_name)
        return make_url(self.database_url).set(drivername=driver)


def given(name: str) -> str | None:
    """What the environment says, or the file that it names, to the last byte."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_bytes().decode() if file else os.environ.get(name)


settings = Settings.from_environment()
