"""A release on its host: the password and its tokens, durable writes, and what a diff shows."""

import os
import stat
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import hiding, release
from ansible_collections.drydock.stack.plugins.module_utils.quoting import database_url, env_quote

SETTINGS = {"host": "db", "port": "5432", "name": "shop", "user": "shop"}
HARD = " a\"b$c\\d'e\r\n\r\u2028ünï😀\n"


def env():
    url = database_url({**SETTINGS, "password": release.PASSWORD_IN_URL_TOKEN}, "postgresql")
    return f"DB_PASSWORD={env_quote(release.PASSWORD_TOKEN)}\nDATABASE_URL={env_quote(url)}\n"


@pytest.mark.parametrize("password", ["simple", 'a"b$c\\d', "p@ss/w:rd%41", "ünï"])
def test_a_password_is_filled_in_as_if_it_had_been_there(password):
    filled = release.fill_password(env(), password)
    assert filled.splitlines()[0] == f"DB_PASSWORD={env_quote(password)}"
    assert filled.splitlines()[1] == f"DATABASE_URL={env_quote(database_url({**SETTINGS, 'password': password}, 'postgresql'))}"
    assert unquote(urlsplit(filled.splitlines()[1].split('"')[1]).password) == password


@pytest.fixture
def with_secrets(tmp_path):
    """A release whose application has its secrets as files."""
    folder = tmp_path / "release" / "unfilled"
    (folder / "secrets").mkdir(parents=True)
    (folder / "compose.yaml").write_text(f"services: {{app-{release.SLOT_TOKEN}: {{}}}}\n")
    (folder / ".env").write_text('DB_PASSWORD_FILE="/run/secrets/DB_PASSWORD"\n')
    url = database_url({**SETTINGS, "password": release.PASSWORD_IN_URL_TOKEN}, "postgresql")
    for name, value in {"DB_PASSWORD": release.PASSWORD_TOKEN, "DATABASE_URL": url, "KEY": HARD, "EMPTY": ""}.items():
        (folder / "secrets" / name).write_bytes(value.encode())
    return folder.parent


@pytest.mark.parametrize("password", ["simple", 'a"b$c\\d', "p@ss/w:rd%41", "ünï"])
def test_secrets_that_are_files_are_filled_in_byte_for_byte(with_secrets, password):
    release.fill(with_secrets, "blue", password, "shop_postgres_data")
    found = {file.name: file.read_bytes().decode() for file in (with_secrets / "secrets").iterdir()}
    url = database_url({**SETTINGS, "password": password}, "postgresql")
    assert found == {"DB_PASSWORD": password, "DATABASE_URL": url, "KEY": HARD, "EMPTY": ""}


def test_secrets_that_are_files_are_the_applications_alone(with_secrets):
    release.fill(with_secrets, "blue", "s3cret", "shop_postgres_data")
    assert stat.S_IMODE((with_secrets / "secrets").stat().st_mode) == 0o700
    for file in (with_secrets / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o400
        assert file.stat().st_uid == (release.APP_UID if os.geteuid() == 0 else os.geteuid())


def test_who_has_a_secret_open_keeps_it_while_the_release_is_filled_in_anew(with_secrets):
    release.fill(with_secrets, "blue", "before", "shop_postgres_data")
    with (with_secrets / "secrets" / "DB_PASSWORD").open() as kept:
        release.fill(with_secrets, "green", "after", "shop_postgres_data")
        assert kept.read() == "before"
    assert (with_secrets / "secrets" / "DB_PASSWORD").read_text() == "after"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "POSTGRES_UID", os.getuid())
    release.make_folders(tmp_path / "shop")
    return tmp_path / "shop"


def test_folders_are_private(root):
    assert stat.S_IMODE(root.stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "secrets").stat().st_mode) == 0o700


def test_a_password_is_made_once(root):
    made = release.keep_password(root, None)
    assert len(made) >= 40
    assert release.keep_password(root, None) == made
    assert stat.S_IMODE((root / "secrets" / "database_password").stat().st_mode) == 0o400


def test_a_given_password_is_kept_and_never_replaced(root):
    assert release.keep_password(root, "given") == "given"
    assert release.keep_password(root, "another") == "given"


def test_a_password_that_replaces_another_is_kept_once_a_release_works_with_it(root):
    release.keep_password(root, "old")
    assert release.keep_password(root, "new", replaces=True) == release.password(root) == "new"
    assert (root / "secrets" / "database_password").read_text() == "old"
    assert hiding.hider(root)("old new") == "*** ***"
    release.confirm_password(root)
    assert release.keep_password(root, None, replaces=True) == "new"


def test_a_password_that_no_release_works_with_is_forgotten(root):
    release.keep_password(root, "old")
    release.keep_password(root, "new", replaces=True)
    release.drop_password(root)
    assert release.password(root) == "old"
    release.keep_password(root, "new", replaces=True)
    assert release.keep_password(root, "old", replaces=True) == release.password(root) == "old"


def test_a_write_leaves_nothing_behind_and_replaces_as_a_whole(root):
    file = root / "file"
    (root / ".file.partial").write_text("left by a crash")
    release.write_durably(file, b"one", 0o600)
    release.write_durably(file, b"two", 0o600)
    assert file.read_bytes() == b"two"
    assert [entry.name for entry in root.iterdir() if "file" in entry.name] == ["file"]


def test_values_are_hidden_and_changes_are_told():
    shown = release.masked('# Ansible managed\nA="1"\nB="secret"\n', 'A="1"\nB="old"\n')
    assert shown == '# Ansible managed\nA="***"\nB="***" (changed)\n'
    assert "secret" not in release.masked('B="secret"\n')


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ('revision = "2"\ndown_revision = "1"\n', []),
        ("revision: str = '2'\n", []),
        ('revision = "1"\ndown_revision = None\nLIMIT = 2\n', ["2"]),
        ('revision = "12"\n', ["2"]),
        ('revision_2 = "2"\ndown_revision = "2"\n', ["2"]),
    ],
)
def test_a_revision_is_known_by_the_migration_that_it_names(tmp_path, text, unknown):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "migration.py").write_text(text)
    assert release.unknown_revisions(tmp_path, "2") == unknown


def test_the_front_door_gets_no_link_that_it_could_follow_to_files_of_its_own(root):
    folder, place = root / "releases" / "abc", root / "proxy" / "static" / "blue"
    (folder / "static" / "css").mkdir(parents=True)
    (folder / "static" / "css" / "a.css").write_text("1")
    (folder / "static" / "a.css").symlink_to("css/a.css")
    (folder / "key").write_text("secret")
    for name, target in {"css/out": "../../key", "key": f"{folder}/key", "gone": "../../../data/key", "self": "."}.items():
        (folder / "static" / name).symlink_to(target)
    release.publish(root, folder, "blue")
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == ["a.css", "css", "css/a.css"]
    assert (place / "a.css").read_text() == "1"
    assert not (place / "a.css").is_symlink()


def test_the_files_of_a_live_slot_are_left_alone_where_they_are_the_same(root):
    folder, place = root / "releases" / "abc", root / "proxy" / "static" / "blue"
    (folder / "static" / "css").mkdir(parents=True)
    (folder / "static" / "css" / "a.css").write_text("1")
    release.publish(root, folder, "blue")
    before = place.stat().st_ino
    release.publish(root, folder, "blue")
    assert place.stat().st_ino == before
    (folder / "static" / "css" / "a.css").write_text("2")
    release.publish(root, folder, "blue")
    assert (place / "css" / "a.css").read_text() == "2"
    (folder / "static" / "b").touch()
    release.publish(root, folder, "blue")
    assert (place / "b").exists()
    release.publish(root, root / "releases" / "without", "blue")
    assert not place.exists()
