"""Quoting, read back by parsers written from the rules of the formats, not from the code."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.drydock.stack.plugins.filter import compose_scalar, database_url, env_quote
from ansible_collections.drydock.stack.plugins.module_utils import quoting
from hypothesis import example, given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
SCALAR = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
# YAML 1.2: all but c-printable, and what YAML 1.1 takes for a line break or a byte order mark.
NOT_PLAIN = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
HARD = [
    "",
    " leading and trailing ",
    "trailing newline\n",
    "\r\n",
    "a\\nb\\",
    "a\"b'c`d",
    "$HOME ${HOME:-x} $$ \\$ $(id)",
    "# no comment",
    "{{ 1 + 1 }} {% raw %}",
    "x\x7f\x85\x9f\u2028\u2029\ufeff\ufffe\uffff\U0001f600\U0010ffff",
    "".join(map(chr, range(1, 32))),
    "<<",
    "0123",
    "yes",
]


def read_env(line: str) -> str:
    """Read one double-quoted value: quotes around it, `\\` before what it escapes, no bare `$`, no line break."""
    assert line[0] == line[-1] == '"' and len(line) >= 2
    assert "\n" not in line and "\r" not in line
    value, characters = [], iter(line[1:-1])
    for character in characters:
        assert character not in '"$'
        if character == "\\":
            character = {"n": "\n", "r": "\r", "\\": "\\", '"': '"', "$": "$"}[next(characters)]
        value.append(character)
    return "".join(value)


def interpolate(value: Any) -> Any:
    """Do to a parsed compose file what Compose does: `$$` becomes `$` in values; a single `$` would be a variable."""
    if isinstance(value, str):
        assert "$" not in value.replace("$$", "")
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    return value


@given(TEXT)
def test_env_quote_is_read_back(value: str) -> None:
    assert read_env(quoting.env_quote(value)) == value


@pytest.mark.parametrize("value", HARD)
def test_hard_values_are_read_back(value: str) -> None:
    assert read_env(env_quote.env_quote(value)) == value
    line = compose_scalar.compose_scalar(value)
    assert interpolate(yaml.safe_load(f"key: {line}\n")) == {"key": value}
    assert not NOT_PLAIN.search(line)


@given(st.recursive(TEXT | SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
@example(10**15)
@example(1e16)
@example({"$a": "$b"})
def test_compose_scalar_is_read_back(value: Any) -> None:
    line = quoting.compose_scalar(value)
    assert "\n" not in line
    assert interpolate(json.loads(line)) == value and repr(interpolate(json.loads(line))) == repr(value)
    assert not NOT_PLAIN.search(line)
    # PyYAML reads 1e+16 as text (YAML 1.1 wants a dot); Compose does not, as the scenario shows.
    if "e" not in json.dumps(value, ensure_ascii=True).replace("true", "").replace("false", ""):
        assert interpolate(yaml.safe_load(f"key: {line}\n")) == {"key": value}


@given(TEXT, TEXT, TEXT, st.integers(1, 65535))
def test_database_url_is_read_back(name: str, user: str, word: str, port: int) -> None:
    settings = {"host": "db", "port": port, "name": name, "user": user, "password": word}
    url = quoting.database_url(settings, "postgresql+asyncpg")
    assert url.isascii() and url.isprintable() and " " not in url
    parts = urlsplit(url)
    assert (parts.scheme, parts.hostname, parts.port) == ("postgresql+asyncpg", "db", port)
    assert unquote(parts.path[1:]) == name
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, word)


def test_database_url_of_hosts() -> None:
    settings = {"host": "fe80::1%eth0", "port": "5432", "name": "a/b", "user": "u@v", "password": "p:%ü"}
    assert database_url.database_url(settings) == "postgresql://u%40v:p%3A%25%C3%BC@[fe80::1%25eth0]:5432/a%2Fb"
    settings["host"] = "a/b@c"
    assert "@a%2Fb%40c:5432/" in database_url.database_url(settings)


@pytest.mark.parametrize("value", [None, 83, True, 1.5, ["a"], {"a": "b"}, b"bytes", "nul\0", "half \ud800"])
def test_env_quote_refuses(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^env_quote: The value .*; .*\.$"):
        env_quote.env_quote(value)


@pytest.mark.parametrize(
    "value",
    ["nul\0", "half \udfff", 2**63, float("nan"), float("inf"), {1: "a"}, {"k\0": 1}, {"k" * 999: 1}, b"bytes", {"a"}],
)
def test_compose_scalar_refuses(value: Any) -> None:
    for nested in (value, [value], {"key": value}):
        with pytest.raises(AnsibleFilterError, match=r"^compose_scalar: .*[;,] .*\.$"):
            compose_scalar.compose_scalar(nested)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"port": "54a"}, "port"),
        ({"port": True}, "port"),
        ({"port": 100000}, "port"),
        ({"password": 123}, "password is a number"),
        ({"user": "a\0"}, "user holds a NUL"),
        ({"host": "\ud800"}, "host holds a lone surrogate"),
    ],
)
def test_database_url_refuses(change: dict[str, Any], word: str) -> None:
    settings = {"host": "db", "port": 5432, "name": "shop", "user": "shop", "password": "x"} | change
    with pytest.raises(AnsibleFilterError, match=word):
        database_url.database_url(settings, "postgresql")


def test_database_url_refuses_what_is_no_mapping() -> None:
    with pytest.raises(AnsibleFilterError, match="lack port, user, password"):
        database_url.database_url({"host": "db", "name": "shop"}, "postgresql")
    with pytest.raises(AnsibleFilterError, match="are text"):
        database_url.database_url("db", "postgresql")  # type: ignore[arg-type]
    with pytest.raises(AnsibleFilterError, match="scheme"):
        database_url.database_url({"host": "db", "port": 1, "name": "n", "user": "u", "password": "p"}, "postgresql://")


@given(st.text(min_size=6).filter(lambda text: "\0" in text or not text.isascii()))
def test_messages_hold_no_value(value: str) -> None:
    for function in (quoting.env_quote, quoting.compose_scalar):
        with pytest.raises(quoting.QuotingError) as caught:
            function(value + "\0")
        assert value not in str(caught.value)


def test_filters_are_named_after_their_files() -> None:
    for module in (env_quote, compose_scalar, database_url):
        assert list(module.FilterModule().filters()) == [module.__name__.rpartition(".")[2]]
