"""What a stack said, shown without its secrets."""

import json
from urllib.parse import quote

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import hiding
from ansible_collections.drydock.stack.plugins.module_utils.quoting import env_quote, env_unquote
from hypothesis import given
from hypothesis import strategies as st

KEY = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
HARD = "a'b\"c$d\\e%f/g ünï"


@pytest.fixture
def root(tmp_path):
    """A stack's folder with two releases, and what the host keeps."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("pw1")
    (tmp_path / "secrets" / "maintenance_bypass").write_text("bypass-of-maintenance\n")
    for identity, values in {
        "one": {"TOKEN": "token-of-one"},
        "two": {"HARD": HARD, "KEY": KEY, "LEVEL": "info", "BROKER": "redis://:hush@cache:6379/0", "BAD": "http://[x"},
    }.items():
        folder = tmp_path / "releases" / identity
        folder.mkdir(parents=True)
        lines = {"DB_HOST": "postgres.example.com", "RELEASE": "0123456789ab", **values}
        folder.joinpath(".env").write_text("# x\n" + "".join(f"{name}={env_quote(value)}\n" for name, value in lines.items()))
    (tmp_path / "releases" / "two" / "secrets").mkdir()
    for name, value in {"TOKEN": "token-of-a-file", "LINES": "first line\r\nsecond line\r\n", "STAGE": "live"}.items():
        (tmp_path / "releases" / "two" / "secrets" / name).write_bytes(value.encode())
    (tmp_path / "releases" / "two" / "secrets" / "URL").write_text("postgresql://a:h%40sh@db/c")
    return tmp_path


@pytest.mark.parametrize(
    "secret",
    [
        "pw1",
        "bypass-of-maintenance",
        "token-of-one",
        *(HARD, repr(HARD)[1:-1], json.dumps(HARD)[1:-1], quote(HARD, safe=""), quote(HARD)),
        *(KEY.strip(), repr(KEY)[1:-1], json.dumps(KEY), "MIIBVgIBADANBgkq", "hkiG9w0BAQEFAASC"),
        "redis://:hush@cache:6379/0",
        "hush",
        *("token-of-a-file", "first line\r\nsecond line", "second line", "postgresql://a:h%40sh@db/c", "h@sh"),
    ],
)
def test_a_secret_is_hidden_in_every_form_that_a_log_has_it_in(root, secret):
    shown = hiding.hider(root)(f"before <{secret}> after")
    assert "***" in shown
    assert shown.startswith("before <") and shown.endswith("> after")
    assert not any(part in shown for part in secret.strip('"\n-').split("\n"))


@pytest.mark.parametrize("text", ["postgres.example.com", "0123456789ab", "level info", "stage: live", "", "http", "DB_HOST"])
def test_what_the_stack_itself_set_and_what_is_short_is_shown(root, text):
    assert hiding.hider(root)(text) == text


def test_where_nothing_is_known_nothing_is_hidden(tmp_path):
    assert hiding.hider(tmp_path)("any text") == "any text"


def test_all_values_are_hidden_where_none_is_known_to_be_the_stacks_own(tmp_path):
    (tmp_path / "releases" / "one").mkdir(parents=True)
    (tmp_path / "releases" / "one" / ".env").write_text('FIRST="first value"\n# not this\nBARE=bare value\nLAST="last value"')
    assert hiding.hider(tmp_path)("first value, bare value, last value, not this") == "***, bare value, ***, not this"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_value_of_an_env_file_is_read_as_it_was_written(value):
    assert env_unquote(env_quote(value)) == value


def test_what_the_caller_knows_beside_is_hidden_too(root):
    assert hiding.hider(root, ["a'b"])("pw1, a'b, a%27b") == "***, ***, ***"


def test_what_sqlalchemy_makes_of_a_password_is_hidden(tmp_path):
    """In a URL its versions from 2 on leave a space and a plus as they are, and those before encode three characters alone."""
    hide = hiding.hider(tmp_path, ["a+b/c &%d"])
    assert hide("a+b%2Fc %26%25d") == hide("a+b%2Fc &%d") == "***"
