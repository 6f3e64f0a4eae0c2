"""The change of the database's password, as far as it needs no database."""

import base64
import hmac
import os

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import rotation

HBA = "local all all trust\nhost all all all scram-sha-256\n"


def test_the_verifier_is_that_of_the_standard():
    # The example of RFC 7677.
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    made = rotation.verifier("pencil", base64.b64decode(salt))
    assert made.startswith(f"SCRAM-SHA-256$4096:{salt}$")
    server = base64.b64decode(made.rpartition(":")[2])
    assert base64.b64encode(hmac.digest(server, said, "sha256")).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_addresses_come_first_and_go_without_a_trace():
    with_one = rotation.rules(HBA, "Own-er", ["10.0.0.3"])
    assert with_one == f'{rotation.BEGIN}\nhost all "Own-er" 10.0.0.3/32 trust\n{rotation.END}\n{HBA}'
    assert rotation.rules(with_one, "Own-er", ["10.0.0.4"]) == with_one.replace("10.0.0.3", "10.0.0.4")
    assert rotation.rules(with_one, "Own-er", []) == HBA
    assert rotation.rules(HBA, "Own-er", []) == HBA


def test_what_is_under_way_is_told_by_files(tmp_path):
    (tmp_path / "secrets").mkdir()
    assert not rotation.under_way(tmp_path)
    for file in (rotation.following(tmp_path), rotation.before(tmp_path)):
        file.touch()
        assert rotation.under_way(tmp_path)
        file.unlink()


@pytest.mark.parametrize(
    ("serves", "undone"),
    [
        # It was cut off before the flip, or after it.
        (["DB_PASSWORD=first"], "first"),
        (["DATABASE_URL=postgresql://u:first@db:5432/d"], "first"),
        (["DB_PASSWORD=second"], "second"),
        (["DB_PASSWORD=first and more"], "second"),
        ([], "second"),
    ],
)
def test_what_is_undone_after_one_that_was_cut_off_is_what_the_live_slot_knows(tmp_path, monkeypatch, serves, undone):
    (tmp_path / "secrets").mkdir()
    rotation.current(tmp_path).write_text("first")
    told = []
    monkeypatch.setattr(rotation, "POSTGRES_UID", os.getuid())
    monkeypatch.setattr(rotation, "let_in", lambda container, role, addresses: None)
    monkeypatch.setattr(rotation, "alter", lambda container, role, password: told.append(password))
    rotation.begin(tmp_path, "shop-db-1", "shop", [], "second", ["DB_PASSWORD=first"])
    rotation.begin(tmp_path, "shop-db-1", "shop", [], "third", serves)
    assert rotation.current(tmp_path).read_text() == "third"
    rotation.undo(tmp_path, "shop-db-1", "shop", serves)
    assert told == ["second", "third", undone]
    assert rotation.current(tmp_path).read_text() == undone
    assert not rotation.under_way(tmp_path)


def test_nothing_is_undone_where_the_live_slot_has_the_new_password(tmp_path, monkeypatch):
    (tmp_path / "secrets").mkdir()
    rotation.current(tmp_path).write_text("second")
    rotation.before(tmp_path).write_text("first")
    monkeypatch.setattr(rotation, "let_in", lambda container, role, addresses: None)
    monkeypatch.setattr(rotation, "alter", lambda container, role, password: pytest.fail(password))
    rotation.undo(tmp_path, "shop-db-1", "shop", ["DB_PASSWORD=second"])
    assert rotation.current(tmp_path).read_text() == "second"
    assert not rotation.under_way(tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """Have a database whose superuser is postgres; return what is said to it."""
    said = []

    class Session:
        def __init__(self, container):
            """Ask nobody."""

        def __enter__(self):
            return self

        def __exit__(self, *error):
            """Nothing was opened."""

        def rows(self, sql):
            said.append(sql)
            return ["postgres"]

    monkeypatch.setattr(rotation.dumps, "Session", Session)
    return said


def test_the_superuser_has_a_password_for_as_long_as_it_is_needed(tmp_path, asked):
    with rotation.superuser(tmp_path, "shop-db-1", "shop") as (name, password):
        assert name == "postgres"
        assert "ALTER ROLE %I PASSWORD %L', 'postgres', 'SCRAM-SHA-256$" in asked[-1]
        assert password not in " ".join(asked)
    assert asked[-1] == 'ALTER ROLE "postgres" PASSWORD NULL;'
    with pytest.raises(ZeroDivisionError), rotation.superuser(tmp_path, "shop-db-1", "shop"):
        1 / 0  # noqa: B018
    assert asked[-1] == 'ALTER ROLE "postgres" PASSWORD NULL;'


def test_a_superuser_of_before_keeps_the_password_that_it_shares(tmp_path, asked):
    (tmp_path / "secrets").mkdir()
    rotation.current(tmp_path).write_text("s3cret")
    with rotation.superuser(tmp_path, "shop-db-1", "postgres") as login:
        assert login == ("postgres", "s3cret")
    assert asked == ["SELECT session_user;"]


def test_the_password_is_the_applications_roles(asked):
    rotation.alter("shop-db-1", "o'wner", "s3cret")
    assert "ALTER ROLE %I PASSWORD %L', 'o''wner', 'SCRAM-SHA-256$" in asked[0]
    assert "s3cret" not in asked[0]
