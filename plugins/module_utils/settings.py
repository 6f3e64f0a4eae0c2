# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The rules of the role's public variables, alone and together.

A message says variable, found, expected and remedy; of a secret, of a variable of the application and of credentials in a
URL it says the kind only.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import keyword
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.archive import LATEST, moment
from ansible_collections.drydock.stack.plugins.module_utils.quoting import kind
from ansible_collections.drydock.stack.plugins.module_utils.release import TOKENS
from ansible_collections.drydock.stack.plugins.module_utils.tuning import bytes_of

Rule = Callable[[str, Any], Iterator[str]]

PREFIX = "fastapi_"
RENAMED = {"fastapi_pg_user": "fastapi_database_user"}

POSTGRES_MAJORS = range(13, 19)
SHOWN = 80
# Linux takes no environment variable that is longer, its name, `=` and the final NUL included (MAX_ARG_STRLEN).
LONGEST_VARIABLE = 128 * 1024
SMALLEST_MEMORY = 6 * 1024**2
# Sizes and counts are numbers of 64 bits to those who read them.
LARGEST_NUMBER = 2**63 - 1
# Linux takes no longer name; its paths may be four times as long, and releases and their files lie below the given ones.
LONGEST_NAME = 255
LONGEST_PATH = 1024
# A file is written beside its place first, under a name that is longer.
LONGEST_SECRET_NAME = 200
# PostgreSQL before 14 takes no longer one from its own programs.
LONGEST_PASSWORD = 1000
# What is measured in processors, hours or gigabytes has as many digits as text may have.
LARGEST_DECIMAL = 10**9
# A name of a variable in place of the password is none, and a user's name of twenty characters is a token.
PASSWORD_IN_URL = re.compile(
    r"\b(?:(?:https?|ssh)://[^/\s:@\"']*:(?!\$\{\w+\}@)[^/\s\"']+|https?://(?!\$\{\w+\}:?@)[^/\s:@\"']{20,}:?)@([\w.-]+)",
    re.IGNORECASE,
)
BUILD_SECRETS = ("netrc", "uv.toml", "pip.conf")
DATABASE_SETTINGS = ("host", "port", "name", "user", "password", "url", "sslmode")
SECRET_SETTINGS = ("password", "url")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DATABASE_ENV = {
    "host": "DB_HOST",
    "port": "DB_PORT",
    "name": "DB_NAME",
    "user": "DB_USER",
    "password": "DB_PASSWORD",
    "url": "DATABASE_URL",
    "sslmode": "PGSSLMODE",
}
ARCHIVE_SETTINGS = ("archive_mode", "archive_command", "archive_library", "archive_timeout")
BACKUP_KEEP = ("last", "daily", "weekly", "monthly", "within")
# Names in .env that are not the user's, with what to do instead.
RESERVED = {
    "WEB_CONCURRENCY": "set fastapi_workers instead",
    "RELEASE": "it is the id of the release; use another name",
    "FORWARDED_ALLOW_IPS": "it is the front door's address, which alone is trusted; use another name",
    "PATH": "the image sets it, and no program of it is found without; use another name",
    "PYTHONPATH": "the image sets it, and no package of it is found without; use another name",
}
# Settings of PostgreSQL that are not the user's: the stack finds, reaches and checks the database by them.
RESERVED_POSTGRES = (
    *("config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "listen_addresses", "port"),
    *("unix_socket_directories", "unix_socket_group", "unix_socket_permissions"),
)
# Below these nothing but the system's own has a place, or it does not stay.
SYSTEM_FOLDERS = re.compile(
    "/(bin|boot|dev|etc|lib|lib32|lib64|libx32|proc|run|sbin|sys|tmp|usr(?!/local/)"
    "|var/(cache|lib/containerd|lib/docker|log|run|spool|tmp))(/.*)?|/home/[^/]*"
)
# Each means something where a folder is named: to Compose, to --mount, to Ansible's own paths, to systemd or to cron.
UNFIT_FOR_A_FOLDER = re.compile(r'[:,"$%\\]')
# These hold folders of many owners: one below them is fine.
SHARED_FOLDERS = ("/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr", "/usr/local", "/var", "/var/lib", "/var/www")
# PostgreSQL takes these names for itself, in quotes too.
RESERVED_ROLES = ("public", "none")

NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
POSTGRES_SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](=[0-9][A-Za-z0-9.+:~-]*)?")
IDENTIFIER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
BODY_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(?:([KMGT])(i?))?B?", re.IGNORECASE)
LOG_SIZE = re.compile(r"[1-9][0-9]*[kmg]?")
READINESS_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
SCHEDULE = re.compile(r"[A-Za-z0-9*:,./~ -]{1,80}")
RCLONE_PLACE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_. -]*:[^\0]*")
RECIPIENT = re.compile(r"age1[a-z0-9]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?")
STATIC_URL = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._~-]*)+")
LOCKED_PATH = re.compile(rf"/|{STATIC_URL.pattern}")
# Below 10 a password is soon guessed from its hash, and above 14 the front door is soon kept busy by guesses.
PASSWORD_HASH = re.compile(r"\$2[aby]\$1[0-4]\$[./A-Za-z0-9]{53}")
USER = re.compile(r"(?!import$)[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# These mean something to browsers, to the application or to the front door, which takes the slot's header off what clients send.
HEADERS_IN_USE = re.compile(
    "(accept|access-control|content|if|proxy|sec|x-forwarded|x-content|x-frame)(-.*)?|allow|authorization|cache-control|connection"
    "|cookie|date|etag|expect|expires|forwarded|host|keep-alive|last-modified|link|location|origin|range|referer|referrer-policy"
    "|retry-after|server|set-cookie|strict-transport-security|te|trailer|transfer-encoding|upgrade|user-agent|vary|via"
    "|www-authenticate|x-maintenance-bypass|x-real-ip|x-request-id|x-xss-protection",
    re.IGNORECASE,
)
# What is taken for a credential where a value is refused and shown: of user:password@host:path, and of options of a remote.
CREDENTIALS = {"fastapi_source": r"^[^/@]*:[^/]*(?=@)", "fastapi_backup_copy_to": r"(?<=,).*"}
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*")
GIT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/@\s]+@[^/:\s]+:")
GIT_URL_TAKEN = re.compile(r"(https?|ssh|git|file)://\S+|\w[\w.-]*@\w[\w.-]*:\S+")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:[0-9]+/)|\[[0-9a-f:]+\])(?::[0-9]+)?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@sha256:[0-9a-f]{64})?"
)


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the settings, one message each; [] where nothing is.

    `settings` maps each variable of a user's that starts with `fastapi_`, defaults included, to its value.
    """
    found = []
    for name, value in settings.items():
        rule = RULES.get(name)
        found += rule(name, value) if rule else [_unknown(name)]
        found += [
            f"{name} holds {token}, which stands for what the stack fills in; use other text."
            for token in TOKENS
            if rule and _holds(value, token)
        ]
    return found + list(_together(settings))


def _holds(value: Any, text: str) -> bool:
    """Tell whether a text stands anywhere in a value."""
    if isinstance(value, Mapping):
        return any(_holds(part, text) for item in value.items() for part in item)
    if isinstance(value, (list, tuple)):
        return any(_holds(part, text) for part in value)
    return isinstance(value, str) and text in value


def postgres_major(image: str) -> int:
    """Return the major version that the tag of a PostgreSQL image begins with: `postgres:17-trixie` gives 17.

    Raises ValueError where there is none, or one that is not supported.
    """
    match = IMAGE.fullmatch(image)
    major = re.match(r"[0-9]+(?![A-Za-z0-9])", match["tag"] or "") if match else None
    if not major or int(major[0]) not in POSTGRES_MAJORS:
        raise ValueError(
            f"{image} has no tag that begins with a major version from {POSTGRES_MAJORS[0]} to {POSTGRES_MAJORS[-1]}"
        )
    return int(major[0])


def postgres_mount(image: str) -> str:
    """Return where the image keeps its data: from 18 in a folder by its major version, so that its parent is mounted."""
    return "/var/lib/postgresql" if postgres_major(image) >= 18 else "/var/lib/postgresql/data"


def is_git_url(source: str) -> bool:
    """Tell whether fastapi_source is a git URL, such as `https://…` or `git@host:path`, and no folder."""
    return GIT_URL.match(source) is not None


# --- Messages ---


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, on one line, without credentials."""
    if isinstance(value, str):
        text = re.sub(r"://.*@", "://…@", value, flags=re.DOTALL)
        plain = text if text and text == text.strip() and text.isprintable() else json.dumps(text, ensure_ascii=False)
        plain = _printable(plain)
        return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 1]}…"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, (int, float)):
        return str(value) if -(10**30) < value < 10**30 else kind(value)
    return kind(value)


def _say(name: str, value: Any, remedy: str) -> str:
    if value is None:
        return f"{name} has no value; {remedy}"
    if isinstance(value, str) and name in CREDENTIALS:
        value = re.sub(CREDENTIALS[name], "…", value, flags=re.DOTALL)
    return f"{name} is {shown(value)}; {remedy}"


def _unknown(name: str) -> str:
    name = _printable(name)
    if name in RENAMED:
        return f"{name} is now {RENAMED[name]}; rename it."
    near = difflib.get_close_matches(name.removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in RULES], 2)
    meant = f"is {' or '.join(PREFIX + one for one in near)} meant?" if near else "see the role's README for those it has."
    return f"{name} is set, and the role has no such variable; {meant}"


# --- Rules of one variable: each yields messages ---


def _text(check: Callable[[str], str | None], empty: bool = False) -> Rule:
    """Text for which `check` has no remedy to give; `empty` says that "" is fine and means none."""

    def rule(name: str, value: Any) -> Iterator[str]:
        if value is None:
            yield _say(name, value, "give one, or leave the line out.")
        elif not isinstance(value, str):
            yield _say(name, value, "use text: put it between quotes, as YAML changes what is written without (0123, yes).")
        elif value or not empty:
            remedy = check(value) or _plain(value)
            if remedy:
                yield _say(name, value, remedy)

    return rule


def _plain(value: str) -> str | None:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        return "use text on one line, without control characters."
    return None if value else "give some text, or leave the line out."


def _matches(pattern: re.Pattern[str], remedy: str) -> Callable[[str], str | None]:
    return lambda value: None if pattern.fullmatch(value) else remedy


def _number(lowest: int, highest: int) -> Rule:
    """A whole number, also as the digits that a command line gives."""

    def rule(name: str, value: Any) -> Iterator[str]:
        remedy = f"use {lowest} to {highest}."
        if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,17}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            yield _say(name, value, f"use a whole number, {lowest} to {highest}.")
        elif not lowest <= value <= highest:
            yield _say(name, value, remedy)

    return rule


def _decimal(lowest: float, remedy: str, empty: bool) -> Rule:
    def rule(name: str, value: Any) -> Iterator[str]:
        if empty and value == "" and isinstance(value, str):
            return
        number = value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            number = float(value)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not lowest <= number < LARGEST_DECIMAL:
            yield _say(name, value, remedy)

    return rule


def _choice(*choices: str) -> Rule:
    return _text(lambda value: None if value in choices else f"use one of {', '.join(choices)}.")


def _boolean(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield _say(name, value, "use true or false.")


def _list(check: Callable[[str], str | None]) -> Rule:
    """A list of text, each of it checked."""

    def rule(name: str, value: Any) -> Iterator[str]:
        if not isinstance(value, (list, tuple)):
            yield _say(name, value, "use a list of texts, such as [one, two].")
            return
        for number, item in enumerate(value, start=1):
            yield from _text(check)(f"{name}, item {number},", item)

    return rule


def _stack_name(value: str) -> str | None:
    if NAME.fullmatch(value):
        return None
    slug = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", slug).lstrip("-0123456789")[:40].strip("-")
    such = f" such as {slug}" if slug else ""
    return f"use a lower-case letter, then up to 39 lower-case letters, digits and inner hyphens{',' + such if such else ''}."


def _root(value: str) -> str | None:
    return _folder(value, "/opt/shop")


def _normal(path: str) -> str:
    """Return an absolute path in the one way to write it."""
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _is_of_the_system(path: str) -> bool:
    return _normal(path) == "/" or SYSTEM_FOLDERS.fullmatch(_normal(path)) is not None


def _folder(value: str, example: str) -> str | None:
    """A folder on the host that is the stack's own: what it has in it, its owner and its mode are changed."""
    parts = value.rstrip("/").split("/")
    if not value.startswith("/") or {"..", "."} & {*parts} or UNFIT_FOR_A_FOLDER.search(value) or value != value.strip():
        return f"use an absolute path without '..', outer spaces and any of : , \" $ % \\, such as {example}."
    if _is_of_the_system(value) or _normal(value) in SHARED_FOLDERS:
        return f"use a folder of the stack's own, outside those of the system, such as {example}."
    return _short(value)


def _path(value: str) -> str | None:
    """A path on the controller, which may begin with `~`."""
    if value.startswith("~") and os.path.expanduser(value) == value:  # noqa: PTH111 (that of pathlib raises)
        return "use a path, or ~user of somebody who is known on the controller."
    return _short(value)


def _short(value: str) -> str | None:
    size, longest = len(value.encode(errors="replace")), max(len(part.encode(errors="replace")) for part in value.split("/"))
    if size > LONGEST_PATH or longest > LONGEST_NAME:
        return f"use a path of at most {LONGEST_PATH} bytes, whose names have at most {LONGEST_NAME}."
    return None


def _source(value: str) -> str | None:
    if is_git_url(value) and not GIT_URL_TAKEN.fullmatch(value):
        return "use a folder, or a git URL that begins with https://, ssh://, file:// or user@host:."
    if PASSWORD_IN_URL.search(value):
        return (
            "take the password out of the URL, as process lists and output would show it; git finds it by itself in ~/.netrc of "
            "the controller, or by a credential helper."
        )
    return None if is_git_url(value) else _path(value)


def _workdir(value: str) -> str | None:
    # In a Dockerfile these stand for something else.
    if re.search("[$\"']", value):
        return "use a folder inside the source without '$' and quotes in its path."
    return _below(value)


def _below(value: str) -> str | None:
    if not value or value.startswith("/") or ".." in value.split("/") or value != value.strip() or "\\" in value:
        return "use a folder inside the source without '..', or . for all of it."
    return _short(value)


def _static_dir(value: str) -> str | None:
    remedy = _below(value)
    return "use a folder below fastapi_workdir, such as static." if remedy or posixpath.normpath(value) == "." else None


def _app(value: str) -> str | None:
    module, _, attribute = value.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    if all(part.isidentifier() and part.isascii() and not keyword.iskeyword(part) for part in parts):
        return None
    return "use module:attribute, such as main:app or shop.main:app."


def _readiness_path(value: str) -> str | None:
    if READINESS_PATH.fullmatch(value) and ".." not in value.partition("?")[0].split("/"):
        return None
    return "use a path such as /readyz, without '..', spaces and characters that a URL has to encode."


def _database_host(value: str) -> str | None:
    try:
        local = ipaddress.ip_address(value).is_loopback
    except ValueError:
        if _domain(value):
            return "use the name or the IP address of a host, without scheme, port and path."
        local = value == "localhost" or value.endswith(".localhost")
    if local:
        return "for the application that is its own container; use a name or an address that leads to the database from there."
    return "that is the stack's own database; leave it out." if value == "db" else None


def _database_identifier(value: str) -> str | None:
    if len(value) > 63 or not IDENTIFIER.fullmatch(value):
        return "use up to 63 letters, digits, '_' and inner hyphens."
    return None


def _database_name(value: str) -> str | None:
    if value in ("template0", "template1"):
        return "use another name, this one is PostgreSQL's own."
    return _database_identifier(value)


def _database_user(value: str) -> str | None:
    if value.startswith("pg_") or value in RESERVED_ROLES:
        return "use another name, PostgreSQL keeps this one for itself."
    return _database_identifier(value)


def _scheme(value: str) -> str | None:
    if re.fullmatch(r"postgres(ql)?(\+[a-z][a-z0-9_]*)?", value):
        return None
    return "use postgresql, or postgresql+driver such as postgresql+asyncpg."


def _address(value: str) -> str | None:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return "use an IP address of the host, without brackets, such as 127.0.0.1, 0.0.0.0 or ::1."
    return "leave the zone out, Docker takes none." if getattr(found, "scope_id", None) else None


def _domain(value: str) -> str | None:
    if (
        value != "import"
        and len(value) <= 253
        and all(map(LABEL.fullmatch, value.split(".")))
        and not re.fullmatch(r"[0-9.]+", value)
    ):
        return None
    if value == "import":
        return "use a longer name, in the front door's configuration this one has a meaning of its own."
    remedy = "use a host name such as shop.example.com, without scheme, port, path and wildcard"
    if not value.isascii():
        try:
            encoded = value.encode("idna")
            # The codec is of IDNA 2003, which maps some letters to others: then another domain would be named.
            if encoded.decode("idna") == value and all(map(LABEL.fullmatch, encoded.decode().split("."))):
                return f"use its ASCII form, {encoded.decode()}."
        except UnicodeError:
            pass
        return f"{remedy}, in its ASCII form (xn--…)."
    return f"{remedy}."


def _body_size(value: str) -> str | None:
    size = BODY_SIZE.fullmatch(value)
    # Of less than a byte the front door makes no limit at all.
    if size and 1 <= float(size[1]) * (1024 if size[3] else 1000) ** " KMGT".index((size[2] or " ").upper()) < LARGEST_NUMBER:
        return None
    return "use a number above 0 and a unit, such as 10MB or 512KiB."


def _memory(value: str) -> str | None:
    try:
        enough = SMALLEST_MEMORY <= bytes_of(value) <= LARGEST_NUMBER and " " not in value
    except ValueError:
        enough = False
    return None if enough else 'use a number and a unit, at least 6m, such as 512m or 2g, or "" for most of the host\'s.'


def _image(value: str) -> str | None:
    return None if IMAGE.fullmatch(value) else "use an image's reference in lower case, such as python:3.13-slim-trixie."


def _registry(value: str) -> str | None:
    # A name without a dot, a port or localhost is a path of Docker Hub's, which nobody means to publish to.
    if IMAGE.fullmatch(f"{value}/name") and re.match(r"localhost(/|$)|[^/]*[.:]", value):
        return None
    return "use a registry with or without a path, and without scheme and tag, such as registry.example.com:5000/team."


def _postgres_image(value: str) -> str | None:
    try:
        postgres_major(value)
    except ValueError:
        return f"use a tag that begins with a major version, {POSTGRES_MAJORS[0]} to {POSTGRES_MAJORS[-1]}, such as postgres:17."
    return None


def _requirement(value: str) -> str | None:
    if PASSWORD_IN_URL.search(value):
        return "take the password out of the URL, as it would be in the image; give it as netrc in fastapi_build_secrets."
    if value.startswith(("-", ".", "/")) or value != value.strip():
        return 'use a requirement such as "uvicorn[standard]>=0.30", without options and paths.'
    return None


def _pattern(value: str) -> str | None:
    if not value or value.startswith(("!", "#", "/")) or ".." in value.split("/") or value != value.strip():
        return "use a pattern of .dockerignore below the source, without '!', '#' or '/' before it, '..' and outer spaces."
    return None


def _ca_bundle(value: str) -> str | None:
    if not value.startswith("/") or ".." in value.split("/") or UNFIT_FOR_A_FOLDER.search(value):
        return 'use the absolute path of a file on the host, without \'..\' and any of : , " $ % \\, or "" for none.'
    return _short(value)


def _secret(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name} is {kind(value)}; use text: put it between quotes."
    elif not value:
        yield f"{name} is empty; give some text, or leave it out."
    elif "\0" in value or not _valid(value):
        yield f"{name} holds a NUL character or invalid Unicode; use other text."


def _valid(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _password(name: str, value: Any) -> Iterator[str]:
    yield from _secret(name, value)
    if not isinstance(value, str):
        return
    inner = value.rstrip("\r\n")
    if inner and inner != value:
        yield f"{name} ends with a line break, which most files and commands add by themselves; take it off: `| trim`."
    elif re.search("[\r\n]", value):
        yield f"{name} holds a line break; use text on one line."
    elif _valid(value) and len(value.encode()) > LONGEST_PASSWORD:
        yield f"{name} is {len(value.encode())} bytes long; use at most {LONGEST_PASSWORD}."


def _build_secrets(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name} is {kind(value)}; use a mapping of {', '.join(BUILD_SECRETS)} to their contents."
        return
    for key, content in value.items():
        if key not in BUILD_SECRETS:
            yield f"{name} has the key {shown(key)}; use {', '.join(BUILD_SECRETS)}."
        else:
            yield from _secret(f"{name}.{key}", content)


def _env_name(what: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not VARIABLE.fullmatch(value):
        yield f"{what} {shown(value)}; use letters, digits and '_', no digit first, between quotes where YAML reads no text."


def _database_env(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _say(name, value, f"use a mapping of {', '.join(DATABASE_SETTINGS)} to names of variables.")
        return
    seen: dict[str, str] = {}
    for key, variable in value.items():
        if key not in DATABASE_SETTINGS:
            yield f"{name} has the key {shown(key)}; use {', '.join(DATABASE_SETTINGS)}."
            continue
        yield from _env_name(f"{name}.{key} is", variable)
        if isinstance(variable, str):
            if variable in RESERVED or variable.startswith("COMPOSE_"):
                yield f"{name}.{key} is {shown(variable)}, which the stack uses itself; use another name."
            if variable in seen:
                yield f"{name}.{key} is {shown(variable)}, as is {name}.{seen[variable]}; use two names."
            seen.setdefault(variable, key)


def _env(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name} is {kind(value)}; use a mapping of names to texts."
        return
    for variable, content in value.items():
        named = list(_env_name(f"{name} has the name", variable))
        yield from named
        if named:
            continue
        if not isinstance(content, str):
            yield (
                f"{name}.{variable} is {kind(content)}; use text: put it between quotes, as YAML changes what is written "
                "without (0123, yes)."
            )
        elif "\0" in content or not _valid(content):
            yield f"{name}.{variable} holds a NUL character or invalid Unicode; encode binary data as base64."
        elif len(variable) + len(content.encode()) + 2 > LONGEST_VARIABLE:
            yield f"{name}.{variable} is {len(content.encode())} bytes long; use less than {LONGEST_VARIABLE}, or a file."
        if variable in RESERVED:
            yield f"{name}.{variable} is set by the stack; {RESERVED[variable]}."
        elif variable.startswith("COMPOSE_"):
            yield f"{name}.{variable} changes what Compose does, which reads .env as well; use another name."


def _postgres_settings(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _say(name, value, "use a mapping of settings of PostgreSQL to values, such as {work_mem: 16MB}.")
        return
    for key, content in value.items():
        if not isinstance(key, str) or not POSTGRES_SETTING.fullmatch(key):
            yield f"{name} has the name {shown(key)}; use a setting of PostgreSQL in lower case, such as work_mem."
        elif key in RESERVED_POSTGRES:
            yield f"{name}.{key} is set by the stack, which finds the database by it; leave it out."
        elif key == "max_connections":
            yield from _number(1, 262143)(f"{name}.{key}", content)
        elif not isinstance(content, (str, int, float)):
            yield f"{name}.{key} is {kind(content)}; use text, a number, true or false."
        elif not isinstance(content, str) and not -LARGEST_NUMBER <= content <= LARGEST_NUMBER:
            yield f"{name}.{key} is no number of 64 bits; use a smaller one, or text."
        elif isinstance(content, str) and not (content.isprintable() and _valid(content)):
            yield f"{name}.{key} holds a line break or a control character; use text on one line."


def _command(name: str, value: Any) -> Iterator[str]:
    # A script among it may have many lines.
    words = [word.replace("\n", " ") if isinstance(word, str) else word for word in value] if isinstance(value, list) else value
    yield from _list(lambda value: None)(name, words)
    if words == []:
        yield f"{name} is empty; give a command as a list, such as [python, --version]."


def _query(name: str, value: Any) -> Iterator[str]:
    # May have many lines, which are not shown.
    if not isinstance(value, str):
        yield f"{name} is {kind(value)}; use text: put it between quotes."
    elif not value.strip() or "\0" in value or not _valid(value):
        yield f"{name} is empty, or holds a NUL character or invalid Unicode; give SQL, such as 'SELECT version()'."


def _basic_auth_users(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{name} is {kind(value)}; use a mapping of names to bcrypt hashes of passwords."
        return
    for user, password in value.items():
        if not isinstance(user, str) or not USER.fullmatch(user):
            yield f"{name} has the name {shown(user)}; use letters, digits, '.', '_', '@' and '-', and another name than import."
        elif not isinstance(password, str) or not PASSWORD_HASH.fullmatch(password):
            yield (
                f"{name}.{user} is no bcrypt hash with a cost of 10 to 14; make one with `caddy hash-password`, or with "
                "`htpasswd -nBC 12`."
            )


def _keep(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _say(name, value, f"use a mapping of {', '.join(BACKUP_KEEP)} to numbers.")
        return
    for key, number in value.items():
        if key not in BACKUP_KEEP:
            yield f"{name} has the key {shown(key)}; use {', '.join(BACKUP_KEEP)}."
        else:
            yield from _number(0, 10000)(f"{name}.{key}", number)


def _repository(value: str) -> str | None:
    return _folder(value, "/mnt/archive/shop")


def _target_time(value: str) -> str | None:
    if value == LATEST:
        return None
    try:
        moment(value)
    except ValueError:
        return f"use a time with its zone, such as 2026-01-31T02:30:00Z or 2026-01-31 03:30:00+01:00, or {LATEST}."
    return None


def _copy_to(value: str) -> str | None:
    if value.startswith("/") and ".." not in value.split("/"):
        if _is_of_the_system(value):
            return "use a folder outside those of the system, such as /mnt/backups/shop."
        return _short(value)
    if RCLONE_PLACE.fullmatch(value):
        return None
    return "use the absolute path of a folder on the host, or remote:path as rclone has it, such as offsite:bucket/shop."


def _slot_header(value: str) -> str | None:
    if HEADER.fullmatch(value) and not HEADERS_IN_USE.fullmatch(value):
        return None
    return "use the name of a header that means nothing else, such as X-Slot."


def _restore_from(value: str) -> str | None:
    if not PurePosixPath(value.removeprefix("copy:")).name and value != "copy:":
        return "use the name of a dump, or the path of a file on the host, such as /root/shop.dump."
    return _short(value)


def _lines(name: str, value: Any) -> Iterator[str]:
    # Text of many lines, which is not shown.
    if not isinstance(value, str):
        yield f"{name} is {kind(value)}; use text: put it between quotes."
    elif "\0" in value or not _valid(value):
        yield f"{name} holds a NUL character or invalid Unicode; use other text."


_SECONDS = _number(1, 86400)
_SCHEDULE = _text(
    _matches(SCHEDULE, 'use what systemd takes as OnCalendar=, such as daily or "*-*-* 02:30", or "" for never.'), empty=True
)
_MEMORY = _text(_memory, empty=True)
_CPUS = _decimal(0.01, 'use a number of processors from 0.01 on, such as 1.5, or "" for no limit.', empty=True)
_PIDS = _number(1, 2**22)
_PACKAGES = _list(_matches(PACKAGE, "use names of Debian packages, such as libpq5."))

RULES: dict[str, Rule] = {
    "fastapi_name": _text(_stack_name),
    "fastapi_root": _text(_root),
    "fastapi_disk_required": _decimal(0, "use a number of gigabytes from 0 on.", empty=False),
    "fastapi_keep_releases": _number(1, 1000),
    "fastapi_source": _text(_source),
    "fastapi_source_version": _text(_matches(REVISION, "use a branch, a tag or a commit.")),
    "fastapi_workdir": _text(_workdir),
    "fastapi_app": _text(_app),
    "fastapi_env": _env,
    "fastapi_secrets_as_files": _boolean,
    "fastapi_workers": _number(1, 1024),
    "fastapi_readiness_path": _text(_readiness_path),
    "fastapi_healthy_timeout": _SECONDS,
    "fastapi_scan_command": _list(lambda value: None),
    "fastapi_smoke_command": _list(lambda value: None),
    "fastapi_settle_time": _number(0, 3600),
    "fastapi_drain_timeout": _SECONDS,
    "fastapi_slot_header": _text(_slot_header, empty=True),
    "fastapi_lock_wait": _number(0, 86400),
    "fastapi_lock_lease": _number(60, 7 * 86400),
    "fastapi_migrate_command": _list(lambda value: None),
    "fastapi_migrate_timeout": _SECONDS,
    "fastapi_backup_before_migrate": _boolean,
    "fastapi_database_host": _text(_database_host, empty=True),
    "fastapi_database_port": _number(1, 65535),
    "fastapi_database_sslmode": _choice(*SSL_MODES),
    "fastapi_backup_schedule": _SCHEDULE,
    "fastapi_backup_keep": _keep,
    "fastapi_backup_max_age": _decimal(0, "use a number of hours from 0 on.", empty=False),
    "fastapi_backup_copy_to": _text(_copy_to, empty=True),
    "fastapi_backup_rclone_config": _lines,
    "fastapi_backup_encrypt_to": _text(_matches(RECIPIENT, "use a recipient of age, age1…, or a public key of ssh."), empty=True),
    "fastapi_alert_command": _list(lambda value: None),
    "fastapi_drill_schedule": _SCHEDULE,
    "fastapi_drill_query": _lines,
    "fastapi_require_proven_restore_days": _number(0, 3650),
    "fastapi_pitr_enabled": _boolean,
    "fastapi_pitr_repository": _text(_repository),
    "fastapi_pitr_archive_timeout": _number(1, 86400),
    "fastapi_pitr_keep": _number(1, 1000),
    "fastapi_pitr_encrypted": _boolean,
    "fastapi_database_name": _text(_database_name),
    "fastapi_database_user": _text(_database_user),
    "fastapi_database_password": _password,
    "fastapi_database_migrator_user": _text(_database_user, empty=True),
    "fastapi_database_migrator_password": _password,
    "fastapi_database_env": _database_env,
    "fastapi_database_url_scheme": _text(_scheme),
    "fastapi_database_pool": _number(1, 1000),
    "fastapi_postgres_settings": _postgres_settings,
    "fastapi_bind_address": _text(_address),
    "fastapi_port": _number(1, 65535),
    "fastapi_domain": _text(_domain, empty=True),
    "fastapi_tls": _choice("auto", "internal", "off"),
    "fastapi_static_dir": _text(_static_dir, empty=True),
    "fastapi_static_url": _text(_matches(STATIC_URL, "use a path such as /static, without a slash at its end.")),
    "fastapi_request_body_limit": _text(_body_size),
    "fastapi_basic_auth_paths": _list(
        _matches(LOCKED_PATH, "use a path such as /docs, without a slash at its end, or / for all.")
    ),
    "fastapi_basic_auth_users": _basic_auth_users,
    "fastapi_dockerfile": _text(_path, empty=True),
    "fastapi_templates": _text(_short),
    "fastapi_python_image": _text(_image),
    "fastapi_postgres_image": _text(_postgres_image),
    "fastapi_caddy_image": _text(_image),
    "fastapi_image_variant": _choice("slim", "minimal"),
    "fastapi_build_packages": _PACKAGES,
    "fastapi_runtime_packages": _PACKAGES,
    "fastapi_extra_requirements": _list(_requirement),
    "fastapi_image_exclude": _list(_pattern),
    "fastapi_image_include": _list(_pattern),
    "fastapi_build_secrets": _build_secrets,
    "fastapi_build_ca_bundle": _text(_ca_bundle, empty=True),
    "fastapi_registry": _text(_registry, empty=True),
    "fastapi_app_memory_limit": _MEMORY,
    "fastapi_app_cpu_limit": _CPUS,
    "fastapi_database_memory_limit": _MEMORY,
    "fastapi_database_cpu_limit": _CPUS,
    "fastapi_proxy_memory_limit": _MEMORY,
    "fastapi_proxy_cpu_limit": _CPUS,
    "fastapi_app_pids_limit": _PIDS,
    "fastapi_database_pids_limit": _PIDS,
    "fastapi_proxy_pids_limit": _PIDS,
    "fastapi_log_max_size": _text(_matches(LOG_SIZE, "use a number above 0 and one of k, m, g, such as 10m.")),
    "fastapi_log_max_file": _number(1, 1000),
    # Those of the other entry points.
    "fastapi_release": _text(_matches(re.compile("[0-9a-f]{12}"), "use the id of a release, as status lists it.")),
    "fastapi_rollback_ignore_migrations": _boolean,
    "fastapi_status_format": _choice("table", "json"),
    "fastapi_status_file": _text(_path, empty=True),
    "fastapi_maintenance_enabled": _boolean,
    "fastapi_maintenance_page": _text(_path, empty=True),
    "fastapi_maintenance_retry_after": _SECONDS,
    "fastapi_logs_service": _choice("app", "db", "proxy"),
    "fastapi_logs_lines": _number(1, 10000),
    "fastapi_exec_command": _command,
    "fastapi_psql_query": _query,
    "fastapi_restore_from": _text(_restore_from, empty=True),
    "fastapi_restore_identity": _text(_path, empty=True),
    "fastapi_restore_target_time": _text(_target_time, empty=True),
    "fastapi_restore_confirm": _text(lambda value: None, empty=True),
    "fastapi_upgrade_confirm": _text(lambda value: None, empty=True),
    "fastapi_remove_data": _text(lambda value: None, empty=True),
}


# --- Rules of several variables ---


def _together(settings: Mapping[str, Any]) -> Iterator[str]:
    domain = settings.get("fastapi_domain")
    tls = settings.get("fastapi_tls")
    port = settings.get("fastapi_port")
    if tls in ("internal", "off") and not domain:
        yield f"fastapi_tls is {tls} and fastapi_domain is not set; set it, or leave fastapi_tls at auto."
    if domain and port in (80, 443, "80", "443"):
        yield f"fastapi_port is {port}, which the front door takes for fastapi_domain by itself; leave fastapi_port out."
    locked, users = settings.get("fastapi_basic_auth_paths"), settings.get("fastapi_basic_auth_users")
    if locked and users == {}:
        yield "fastapi_basic_auth_paths is set and fastapi_basic_auth_users is empty, so that nobody could pass; name somebody."
    if users and locked == []:
        yield "fastapi_basic_auth_users is set and fastapi_basic_auth_paths is empty, so that nobody is asked; name the paths."
    remote, rclone = settings.get("fastapi_backup_copy_to"), settings.get("fastapi_backup_rclone_config", "")
    named = remote.partition(":")[0] if isinstance(remote, str) and RCLONE_PLACE.fullmatch(remote) else ""
    if named and isinstance(rclone, str) and f"[{named}]" not in rclone:
        yield (
            f"fastapi_backup_copy_to is {shown(remote)}, and fastapi_backup_rclone_config has no section [{named}]; add it, "
            "as `rclone config` makes one."
        )
    for name in ("fastapi_root", "fastapi_pitr_repository"):
        if isinstance(remote, str) and isinstance(settings.get(name), str) and _is_below(remote, settings[name]):
            yield (
                f"fastapi_backup_copy_to is {shown(remote)}, and {name} is {shown(settings[name])}, whose files are no copies; "
                "use a folder elsewhere, such as a mount."
            )
    yield from _archive(settings)
    yield from _migrator(settings)
    postgres, workers, pool = (settings.get(f"fastapi_{name}") for name in ("postgres_settings", "workers", "database_pool"))
    most = postgres.get("max_connections") if isinstance(postgres, Mapping) else None
    if not any(message for number in (most, workers, pool) for message in _number(1, 262143)("", number)):
        needed = 2 * int(workers) * int(pool) + 10
        if int(most) < needed:
            yield (
                f"fastapi_postgres_settings.max_connections is {most}, and two slots of {workers} workers with {pool} "
                f"connections each need {needed}; use at least that, or fewer fastapi_workers or a smaller fastapi_database_pool."
            )
    if settings.get("fastapi_image_variant") == "minimal" and settings.get("fastapi_dockerfile"):
        yield (
            "fastapi_image_variant is minimal and fastapi_dockerfile is set, which says itself what the image is; "
            "leave one of them out."
        )
    source, version = settings.get("fastapi_source"), settings.get("fastapi_source_version", "HEAD")
    of_git = isinstance(version, str) and version != "HEAD" and REVISION.fullmatch(version)
    if of_git and isinstance(source, str) and not is_git_url(source):
        yield (
            f"fastapi_source_version is {shown(version)} and fastapi_source is {shown(source)}, a folder, which is taken "
            "as it is; use a git URL, or leave fastapi_source_version out."
        )
    env, database = settings.get("fastapi_env"), settings.get("fastapi_database_env", DATABASE_ENV)
    if isinstance(env, Mapping) and isinstance(database, Mapping):
        for key, variable in database.items():
            if isinstance(variable, str) and VARIABLE.fullmatch(variable) and variable in env:
                yield (
                    f"fastapi_env.{variable} is set by the stack to the database's {shown(key)}; "
                    "use another name, or leave it out of fastapi_database_env."
                )
        if settings.get("fastapi_secrets_as_files") is True:
            yield from _secrets_as_files(env, database)


def _is_below(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or below it; a place elsewhere, such as offsite:shop, is not."""
    return path.startswith("/") and f"{_normal(path)}/".startswith(f"{_normal(folder)}/")


def _migrator(settings: Mapping[str, Any]) -> Iterator[str]:
    user, given = settings.get("fastapi_database_migrator_user"), "fastapi_database_migrator_password" in settings
    if not user:
        if given:
            yield "fastapi_database_migrator_password is set, and fastapi_database_migrator_user is not; give both, or neither."
        return
    told = f"fastapi_database_migrator_user is {shown(user)}"
    if not given:
        yield f"{told}, and fastapi_database_migrator_password is not set; give both, or neither."
    if not settings.get("fastapi_database_host"):
        yield (
            f"{told}, and fastapi_database_host is not set: the stack's own database belongs to the application's role; "
            "leave it out."
        )
    named = settings.get("fastapi_database_env", DATABASE_ENV)
    if isinstance(named, Mapping) and "url" not in named and not {"user", "password"} <= named.keys():
        yield (
            f"{told}, and fastapi_database_env names neither url nor both user and password, so that a migration would not get "
            "its login; name them."
        )
    if user == settings.get("fastapi_database_user"):
        yield f"{told}, as is fastapi_database_user; give another role, or leave it out."


def _secrets_as_files(env: Mapping[Any, Any], database: Mapping[Any, Any]) -> Iterator[str]:
    """The rules of names whose variable gets _FILE at its end, and whose value becomes a file of that name."""
    named = {key: variable for key, variable in database.items() if key in DATABASE_SETTINGS}
    plain = [variable for key, variable in named.items() if key not in SECRET_SETTINGS]
    secret = [(f"fastapi_database_env.{key} is", variable) for key, variable in named.items() if key in SECRET_SETTINGS]
    for what, variable in [*secret, *(("fastapi_env has the name", variable) for variable in env)]:
        if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
            continue
        told = f"{what} {shown(variable)}, and fastapi_secrets_as_files is true"
        if variable == "COMPOSE":
            yield f"{told}: COMPOSE_FILE would change what Compose does; use another name."
        elif len(variable) > LONGEST_SECRET_NAME:
            yield f"{told}, so that it names a file; use at most {LONGEST_SECRET_NAME} characters."
        elif f"{variable}_FILE" in plain:
            yield f"{told}: {shown(variable + '_FILE')} is set already, by fastapi_database_env; use another name."


def _archive(settings: Mapping[str, Any]) -> Iterator[str]:
    target, enabled = settings.get("fastapi_restore_target_time"), settings.get("fastapi_pitr_enabled")
    if target and isinstance(target, str):
        if not enabled:
            yield (
                f"fastapi_restore_target_time is {shown(target)}, and fastapi_pitr_enabled is false; give the archive that the "
                "stack is deployed with, or restore a dump with fastapi_restore_from."
            )
        if settings.get("fastapi_restore_from"):
            yield (
                f"fastapi_restore_target_time is {shown(target)}, and fastapi_restore_from is "
                f"{shown(settings['fastapi_restore_from'])}, a dump, which is of one moment; leave one of them out."
            )
    if enabled is not True:
        return
    if settings.get("fastapi_database_host"):
        yield (
            "fastapi_pitr_enabled is true, and fastapi_database_host names a database that is not the stack's own; have its "
            "provider archive it, and leave fastapi_pitr_enabled out."
        )
    if settings.get("fastapi_backup_schedule") == "":
        yield (
            "fastapi_pitr_enabled is true, and fastapi_backup_schedule is empty, so that the archive would grow without end; "
            "give a schedule."
        )
    given = settings.get("fastapi_postgres_settings")
    for name in ARCHIVE_SETTINGS if isinstance(given, Mapping) else ():
        if name in given:
            yield (
                f"fastapi_postgres_settings.{name} is set, and fastapi_pitr_enabled is true, which sets it itself; leave it out"
                f"{', and use fastapi_pitr_archive_timeout' if name == 'archive_timeout' else ''}."
            )
    if isinstance(given, Mapping) and str(given.get("wal_level")).casefold() == "minimal":
        yield "fastapi_postgres_settings.wal_level is minimal, and fastapi_pitr_enabled needs replica; leave it out."
