# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What an application, a migration or a health check said, shown without the secrets of its stack."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.drydock.stack.plugins.module_utils.quoting import env_unquote
from ansible_collections.drydock.stack.plugins.module_utils.release import SECRETS

# Shorter values, such as `info` or `8080`, are settings, and hiding them would make a log useless.
LEAST = 8
HIDDEN = "***"
# The last variable of .env that is the stack's own; those of fastapi_env follow.
LAST_OWN = "RELEASE="


def hider(root: Path, more: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that hides the secrets of the stack in the folder ``root`` in a text.

    They are ``more``, what C(secrets) holds, and the values that fastapi_env gives to the releases on the host, in their .env or
    as files: as they are, as they stand in a URL, as Python and JSON show them, each line of one that has several, and the
    password of one that is a URL.
    """
    forms = {form for secret in {*secrets_of(root), *more} for form in forms_of(secret)} - {""}
    if not forms:
        return lambda text: text
    # The longest first, so that none is hidden in part.
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub(HIDDEN, text)


def secrets_of(root: Path) -> set[str]:
    """Return the secrets that the host knows."""
    found = set()
    for text in texts((root / "secrets").glob("*")):
        found |= {text, *several(text)}
    given = [value for text in texts((root / "releases").glob("*/.env")) for value in values(text)]
    for value in [*given, *texts((root / "releases").glob(f"*/{SECRETS}/*"))]:
        found |= {password_in(value), *({value, *several(value)} if len(value) >= LEAST else ())}
    return found


def texts(files: Iterable[Path]) -> Iterator[str]:
    """Yield what the files hold; one that goes while they are read is passed over."""
    for file in files:
        with contextlib.suppress(OSError):
            yield file.read_bytes().decode(errors="replace")


def values(env: str) -> Iterator[str]:
    """Yield what fastapi_env gives in a .env, all values where none is known to be the stack's own."""
    # At line feeds alone: other characters that end a line for Python stand within values.
    lines = env.split("\n")
    own = max((number for number, line in enumerate(lines) if line.startswith(LAST_OWN)), default=-1)
    for line in lines[own + 1 :]:
        _, found, value = line.partition("=")
        if found and value.startswith('"'):
            yield env_unquote(value)


def several(text: str) -> set[str]:
    """Return the lines of a text, as a log tells them apart, but for those that are too short to be a secret."""
    return {line.strip() for line in text.splitlines() if len(line.strip()) >= LEAST}


def password_in(value: str) -> str:
    """Return the password of a URL, "" for anything else."""
    try:
        return unquote(urlsplit(value).password or "")
    except ValueError:
        return ""


def forms_of(secret: str) -> set[str]:
    # SQLAlchemy encodes less than others do, and its versions before 2 less still.
    in_url = {
        quote(secret, safe=""),
        quote(secret),
        quote(secret, safe=" +"),
        re.sub("[:@/]", lambda found: quote(found[0], ""), secret),
    }
    return {secret, *in_url, repr(secret)[1:-1], json.dumps(secret)[1:-1]}
