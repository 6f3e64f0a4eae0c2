"""Text that arrives byte for byte: a value in .env, a scalar in compose.yaml, a database URL.

Messages name what is wrong, never the value: it may be a secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

# The escapes that Compose undoes between double quotes; everything else stands for itself there.
ENV_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})
ENV_ESCAPED = re.compile(r"\\(.)")
ENV_LINE_BREAKS = {"n": "\n", "r": "\r"}

# JSON leaves these as they are, YAML folds them as line breaks or refuses them.
YAML_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

# YAML gives up on a quoted key that is longer, and the escapes count.
LONGEST_KEY = 1000


class QuotingError(ValueError):
    """The value cannot arrive byte for byte."""


def kind(value: Any) -> str:
    """Say in a word what a value is, for messages: `text`, `a number`, `a boolean`, `a list`, `nothing` …"""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise QuotingError(f"{what} is {kind(value)}; use text: put it between quotes.")
    if "\0" in value:
        raise QuotingError(f"{what} holds a NUL character, which no environment and no file format carries; remove it.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise QuotingError(
            f"{what} holds a lone surrogate at position {error.start}; use valid Unicode, encode binary data as base64."
        ) from None
    return value


def env_quote(value: str) -> str:
    """Return `value` as one double-quoted value of a .env file, on one line.

    Raises QuotingError for anything but text, for NUL and for lone surrogates.
    Source: the dotenv parser of compose-go, measured against Compose 2.26.
    """
    return f'"{_text(value, "The value").translate(ENV_ESCAPES)}"'


def env_unquote(quoted: str) -> str:
    """Return the value that `env_quote` made this of."""
    return ENV_ESCAPED.sub(lambda match: ENV_LINE_BREAKS.get(match[1], match[1]), quoted[1:-1])


def _json_text(value: Any, what: str) -> str:
    quoted = json.dumps(str(_text(value, what)), ensure_ascii=False)
    return YAML_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def compose_scalar(value: Any) -> str:
    """Return `value` as JSON for compose.yaml, with each `$` of a value doubled: Compose interpolates values, not keys.

    Takes text, whole numbers of 64 bits, finite floats, booleans, None, and lists and mappings of these.
    Raises QuotingError for everything else, for NUL and for lone surrogates.
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise QuotingError("The value is a number beyond 64 bits, which YAML readers round; use text.")
        return str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise QuotingError("The value is no finite number; use one, or text.")
        return json.dumps(float(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(compose_scalar(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)}: {compose_scalar(item)}' for key, item in value.items())}}}"
    return _json_text(value, "The value").replace("$", "$$")


def _key(value: Any) -> str:
    key = _json_text(value, "A key of the mapping")
    if len(key) > LONGEST_KEY:
        raise QuotingError(f"A key of the mapping takes {len(key)} characters when quoted; use at most {LONGEST_KEY}.")
    return key


def database_url(settings: Mapping[str, Any], scheme: str) -> str:
    """Return `scheme://user:password@host:port/name`, each part percent-encoded (RFC 3986), an IPv6 host in brackets.

    `settings` holds host, port, name, user and password; the port may be a number, all else is text.
    Raises QuotingError where one is missing or of another type.
    """
    missing = [key for key in ("host", "port", "name", "user", "password") if key not in settings]
    if missing:
        raise QuotingError(f"The settings of the database lack {', '.join(missing)}; give them.")
    scheme = _text(scheme, "The scheme")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise QuotingError("The scheme is not one of a URL; use letters, digits, +, - and . only, such as postgresql.")
    port = settings["port"]
    port = str(port) if isinstance(port, int) else _text(port, "The database's port")
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise QuotingError("The database's port is no port; use 1 to 65535.")
    host = _text(settings["host"], "The database's host")
    host = f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")
    name, user, password = (quote(_text(settings[key], f"The database's {key}"), safe="") for key in ("name", "user", "password"))
    return f"{scheme}://{user}:{password}@{host}:{port}/{name}"
