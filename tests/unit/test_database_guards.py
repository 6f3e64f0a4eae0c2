"""What a database tells of itself: each guard says what was found, what is expected and what mends it."""

import json
import os

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import database_guards, engine, postgres
from ansible_collections.drydock.stack.plugins.module_utils.postgres import Database
from ansible_collections.drydock.stack.plugins.module_utils.release import keep_password, next_password

GOOD = {
    "revision": "b",
    "superuser": False,
    "database": '"My Shop"',
    "collation": {"made": "1", "now": "1"},
    "wal": {"bytes": 4 * 10**9, "limit": 4 * 10**9},
    "checksums": "on",
    "connections": 79,
    "max_connections": 100,
    "archiver": {"wal": "00000001", "failed": 3, "last": "2026-01-31T02:30:00+00:00", "failing": False},
    "slots": [
        {"name": "read", "active": True, "status": "reserved", "bytes": 10**9},
        {"name": "away for a moment", "active": False, "status": "reserved", "bytes": 10**6},
    ],
}
SLOT = {"name": "left", "active": False, "status": "reserved", "bytes": 1.5 * 10**9}


@pytest.fixture
def own(tmp_path):
    return Database("shop", tmp_path, user="shop")


@pytest.fixture
def elsewhere(tmp_path):
    where = {"host": "db.example.com", "port": 5432, "sslmode": "require", "name": "s", "user": "u", "image": "postgres:17"}
    return Database("shop", tmp_path, where)


def test_a_good_database_needs_no_look(own, elsewhere):
    assert database_guards.warnings(GOOD, own) == []
    assert database_guards.warnings(GOOD, elsewhere) == []


def test_what_a_role_may_not_see_is_no_reason(elsewhere):
    assert database_guards.warnings({**GOOD, "wal": None, "collation": None}, elsewhere) == []
    assert database_guards.warnings({**GOOD, "collation": {"made": None, "now": None}}, elsewhere) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"superuser": True},
            ["with the application's role shop as the superuser", "/backups to another folder", "fastapi_restore_from"],
        ),
        (
            {"collation": {"made": "2.36", "now": "2.41"}},
            ["was of version 2.36", "is 2.41", 'REINDEX DATABASE CONCURRENTLY "My Shop"', "REFRESH COLLATION VERSION"],
        ),
        ({"checksums": "off"}, ["data_checksums off, and on is expected", "/current && docker compose stop db", "pg_checksums"]),
        (
            {"connections": 80},
            ["80 connections of the 100", "activity", "fastapi_postgres_settings max_connections: 200"],
        ),
        ({"slots": [SLOT]}, ["slot left holds 1.5 GB", "nobody reads it", "pg_drop_replication_slot('left')"]),
        ({"slots": [{**SLOT, "active": True, "status": "extended"}]}, ["wal_status is extended", "its reader is behind"]),
        ({"slots": [{**SLOT, "status": "lost", "bytes": None}]}, ["has lost WAL", "pg_drop_replication_slot('left')"]),
        (
            {"archiver": {**GOOD["archiver"], "failing": True}},
            ["00000001 failed", "at 2026-01-31T02:30:00+00:00", "3 attempts", "fastapi_logs_service"],
        ),
        (
            {"archiver": {**GOOD["archiver"], "failing": True, "last": None}},
            ["the last one that did not was at no time"],
        ),
        ({"wal": {"bytes": 4.5 * 10**9, "limit": 4 * 10**9}}, ["pg_wal has 4.5 GB, and 4.0 GB are expected", "CHECKPOINT"]),
    ],
)
def test_what_is_to_be_looked_into_is_told_with_what_mends_it(own, changed, said):
    (message,) = database_guards.warnings({**GOOD, **changed}, own)
    assert all(part in message for part in said), message


def test_a_provider_is_asked_for_what_is_the_providers(elsewhere):
    told = database_guards.warnings({**GOOD, "checksums": "off", "connections": 100}, elsewhere)
    assert ["docker" in message for message in told] == [False, False]
    assert ["who runs it" in message for message in told] == [True, True]


WRONG = 'psql: error: connection to server at "db", port 5432 failed: FATAL:  password authentication failed for user "shop"'
MISSING = 'psql: error: connection to server at "db", port 5432 failed: FATAL:  database "shop" does not exist'
STARTING = 'psql: error: connection to server at "db", port 5432 failed: FATAL:  the database system is starting up'


@pytest.fixture
def answers(monkeypatch):
    """Have the engine answer with a code, an output and an error; return the calls."""

    def answer(code, output="", error=""):
        calls = []
        monkeypatch.setattr(engine, "run", lambda *args, **more: calls.append((args, more)) or (code, output, error))
        return calls

    return answer


def test_a_password_that_does_not_log_in_is_refused_with_what_mends_it(own, elsewhere, answers):
    answers(2, error=WRONG)
    with pytest.raises(postgres.LoginError, match=r"password authentication failed for user.*playbook rotate_password"):
        database_guards.ask(own, "s3cret")
    with pytest.raises(postgres.LoginError, match=r"on db.example.com does not take the role u .*fastapi_database_password"):
        database_guards.ask(elsewhere, "s3cret")


def test_another_database_is_refused(own, answers):
    answers(2, error=MISSING)
    with pytest.raises(postgres.LoginError, match=r'"shop" does not exist.*fastapi_database_name.*playbook restore'):
        database_guards.ask(own, "s3cret")


@pytest.mark.parametrize("error", [STARTING, "Error response from daemon: container is restarting", ""])
def test_one_that_does_not_answer_yet_is_told_and_not_refused(own, answers, error):
    answers(2, error=error)
    facts, (warning,) = database_guards.ask(own, "s3cret")
    assert facts == {}
    assert warning.startswith("The database of shop cannot be asked: ")


def test_the_password_is_in_the_environment_and_in_no_command_line(own, elsewhere, answers):
    for database in (own, elsewhere):
        calls = answers(0, json.dumps(GOOD))
        assert database_guards.ask(database, "s3cret") == (GOOD, [])
        ((command,), more) = calls[0]
        assert len(calls) == 1
        assert "s3cret" not in " ".join(command)
        assert command[command.index("PGPASSWORD") - 1] == "--env"
        assert more["more"]["PGPASSWORD"] == "s3cret"
        assert ("--host=db" in command) is (database is own)
        # As the application; what it may not see the superuser does, to whom the same session goes over.
        assert ("--username=shop" in command) is (database is own)
        assert ("/var/run/postgresql" in more["text"]) is (database is own)
        assert more["text"].index("alembic_version") < more["text"].index("pg_stat_activity")


def test_a_statement_of_the_superusers_calls_nothing_of_the_owners(own, elsewhere, answers):
    calls = answers(0, "1\n")
    assert postgres.query(own, "SELECT 1") == postgres.query(elsewhere, "SELECT 1") == ["1"]
    ((mine,), _), ((theirs,), _) = calls
    assert mine.index(f"--command={postgres.OWN_NAMES}") < mine.index("--command=SELECT 1")
    assert f"--command={postgres.OWN_NAMES}" not in theirs


def test_the_revision_is_asked_for_as_the_application_finds_it(own, elsewhere, answers):
    calls = answers(0, "a b\n")
    assert postgres.revision(own) == postgres.revision(elsewhere) == "a b"
    assert ["\\connect - :owner" in more["text"] for _, more in calls] == [True, False]
    answers(1, "", "psql: error")
    assert postgres.revision(own) == ""


def test_the_password_that_is_asked_with_is_the_one_that_the_release_gets(tmp_path, monkeypatch):
    monkeypatch.setattr("ansible_collections.drydock.stack.plugins.module_utils.release.POSTGRES_UID", os.getuid())
    (tmp_path / "secrets").mkdir()
    assert next_password(tmp_path, None) == ""
    for given, replaces in (("one", False), (None, False), ("two", False), ("two", True), (None, True)):
        expected = next_password(tmp_path, given, replaces)
        assert keep_password(tmp_path, given, replaces) == expected != ""
