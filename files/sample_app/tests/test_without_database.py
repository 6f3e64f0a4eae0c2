"""What the application does where there is no database: everything here runs anywhere, within seconds."""

import re
import runpy
import socket
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from sqlalchemy import URL

FOLDER = Path(__file__).resolve().parents[1]
SCRIPT = "</textarea><script>alert('x')</script>"


@pytest.fixture(scope="module")
def away(serve):
    """The application with a database that refuses connections: a port that is bound, but not listened to."""
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        yield serve(
            DB_HOST="127.0.0.1", DB_PORT=str(refusing.getsockname()[1]), DB_PASSWORD="hush", RELEASE=f"1{SCRIPT}"
        )


def test_it_lives(away):
    assert away.get("/livez").json() == {"status": "alive", "release": f"1{SCRIPT}"}


def test_it_is_not_ready_and_says_why(away):
    answer = away.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "The database is not available. Try again in a moment."}


def test_a_database_that_accepts_but_does_not_answer_holds_readiness_up_for_seconds_only(serve):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        application = serve(DATABASE_URL=f"postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c")
        started = time.monotonic()
        answer = application.get("/readyz")
        assert answer.status_code == 503
        assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/notes", None), ("POST", "/notes", {"text": "one"}), ("DELETE", "/notes/1", None)],
)
def test_the_interface_answers_503(away, method, path, body):
    answer = away.request(method, path, json=body)
    assert answer.status_code == 503
    assert answer.json() == {"detail": "The database is not available. Try again in a moment."}
    assert answer.headers["Retry-After"] == "2"


def test_the_log_tells_the_cause_without_the_password(away):
    away.get("/notes")
    assert "Connection refused" in away.log()
    assert "hush" not in away.log()


@pytest.mark.parametrize(
    "text", ["", " \n ", "x" * 501, "a\0b", 5, None], ids=["empty", "blank", "too long", "NUL", "number", "none"]
)
def test_text_that_is_no_note_is_refused(away, text):
    answer = away.post("/notes", json={"text": text})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "text"]


def test_half_of_a_surrogate_pair_is_refused(away):
    answer = away.post("/notes", content=rb'{"text": "\ud800"}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/notes?limit=0", "/notes?limit=1001", "/notes?limit=x"])
def test_a_limit_out_of_range_is_refused(away, path):
    assert away.get(path).status_code == 422


@pytest.mark.parametrize("note_id", ["0", "x", str(2**63)])
def test_an_id_that_no_note_can_have_is_refused(away, note_id):
    assert away.delete(f"/notes/{note_id}").status_code == 422


def test_the_page_is_there_and_says_so(away):
    answer = away.get("/")
    assert answer.status_code == 200
    assert "The database is not available." in answer.text
    assert "PostgreSQL" not in answer.text
    assert "No notes yet" not in answer.text


def test_the_page_keeps_what_could_not_be_saved(away):
    answer = away.post("/add", data={"text": f"keep me {SCRIPT}"})
    assert answer.status_code == 503
    assert "The note is not saved yet." in answer.text
    assert "keep me &lt;/textarea&gt;" in answer.text
    answer = away.post("/delete", data={"note_id": "1"})
    assert answer.status_code == 503
    assert "The note is not deleted yet." in answer.text


def test_the_page_says_what_a_note_takes(away):
    answer = away.post("/add", data={"text": "x" * 501})
    assert answer.status_code == 422
    assert "A note takes 1 to 500 characters." in answer.text
    assert "x" * 501 in answer.text


def test_the_page_escapes_and_loads_nothing_else(away):
    for answer in (away.get("/"), away.post("/add", data={"text": SCRIPT})):
        assert "<script" not in answer.text
        assert answer.text.count("</textarea>") == 1
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        references = re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)
        assert references
        assert [reference for reference in references if re.match(r"/|https?:", reference)] == []


def test_the_interface_is_described(away):
    paths = away.get("/openapi.json").json()["paths"]
    operations = {path: sorted(methods) for path, methods in paths.items()}
    assert operations == {
        "/livez": ["get"],
        "/notes": ["get", "post"],
        "/notes/{note_id}": ["delete"],
        "/readyz": ["get"],
    }


@pytest.fixture
def read_settings(monkeypatch):
    """Read the settings out of these variables; by path, so that no module of that name gets in the way of others."""

    def read(**variables):
        with monkeypatch.context() as environment:
            environment.setattr("os.environ", variables)
            return runpy.run_path(str(FOLDER / "settings.py"))["settings"]

    return read


@pytest.mark.parametrize(
    "value", ["plain", "%", "%(here)s", "p@ss:w/rd?#[]", "a+b c", "'\"\\$`", "ü€😀", "{{ 1 }}", "%41"]
)
def test_every_character_of_the_names_and_the_password_arrives(read_settings, value):
    parts = {"host": "db", "port": 5433, "username": value, "password": value, "database": value}
    expected = URL.create("postgresql+psycopg2", **parts)
    found = read_settings(DB_HOST="db", DB_PORT="5433", DB_USER=value, DB_PASSWORD=value, DB_NAME=value)
    assert found.url == expected
    encoded = quote(value, safe="")
    found = read_settings(DATABASE_URL=f"postgresql+asyncpg://{encoded}:{encoded}@db:5433/{encoded}")
    assert found.url == expected


@pytest.mark.parametrize("value", ["plain", " a b ", "a\r\nb\n", "'\"\\$`", "ü€😀", "{{ 1 }}"])
def test_every_character_of_a_file_arrives(read_settings, tmp_path, value):
    (tmp_path / "password").write_bytes(value.encode())
    found = read_settings(DB_PASSWORD_FILE=str(tmp_path / "password"), DB_USER="shop")
    assert (found.url.username, found.url.password) == ("shop", value)
    (tmp_path / "url").write_text("postgresql://a:hush@b/c")
    found = read_settings(DATABASE_URL_FILE=str(tmp_path / "url"), DB_POOL_SIZE_FILE="")
    assert (found.url.host, found.url.password) == ("b", "hush")


def test_a_file_that_is_not_there_is_named(read_settings, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_settings(DB_PASSWORD_FILE=str(tmp_path / "nowhere"))


def test_the_url_goes_before_its_parts(read_settings):
    assert read_settings(DATABASE_URL="postgresql://a@b/c", DB_HOST="d").url.host == "b"


def test_an_empty_variable_counts_as_not_set(read_settings):
    assert repr(read_settings(DB_PORT="", RELEASE="")) == repr(read_settings())
    assert read_settings(DATABASE_URL="", DB_HOST="d").url.host == "d"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DB_PORT", "99999"), ("DB_POOL_SIZE", "-77"), ("DB_MAX_OVERFLOW", "-77"), ("DB_POOL_TIMEOUT", "hush")],
)
def test_a_setting_out_of_range_is_named_without_its_value(read_settings, name, value):
    with pytest.raises(ValidationError) as error:
        read_settings(**{name: value})
    assert name.lower() in str(error.value)
    assert value not in str(error.value)


def test_settings_show_no_secret(read_settings):
    assert "hush" not in repr(read_settings(DB_PASSWORD="hush", DATABASE_URL="postgresql://a:hush@b/c"))
