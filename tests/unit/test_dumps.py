"""Backups without a database: which stay, what their files say, and what is told of them."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import dumps
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.UTC)
SETTINGS = {"name": "shop", "host": "one", "keep": {"last": 2}, "keep_before": 1, "schedule": "daily", "max_age": 26}


def name(hours, before=""):
    return f"{NOW - datetime.timedelta(hours=hours):{dumps.STAMP}}{before}.dump"


def put(folder, dump, data=b"dump", **manifest):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / dump
    file.write_bytes(data)
    globals_file, manifest_file = dumps.companions(file)
    globals_file.write_text("roles")
    told = {"bytes": len(data), "sha256": dumps.sha256(file), "globals_sha256": dumps.sha256(globals_file), **manifest}
    manifest_file.write_text(json.dumps(told))
    return file


# --- Which stay ---


@pytest.mark.parametrize(
    ("keep", "hours", "stay"),
    [
        ({}, [1, 2], [1]),
        ({"last": 2}, [1, 2, 3], [1, 2]),
        ({"daily": 2}, [1, 2, 25, 26, 49], [1, 25]),
        # The days that have a backup count, not those of the calendar.
        ({"daily": 2}, [1, 100, 200], [1, 100]),
        ({"weekly": 2}, [1, 24, 24 * 3, 24 * 8], [1, 24 * 3]),
        ({"monthly": 2}, [1, 24 * 29, 24 * 31, 24 * 40], [1, 24 * 31]),
        ({"within": 2}, [1, 30, 47, 49], [1, 30, 47]),
        ({"last": 1, "daily": 2, "monthly": 2}, [1, 25, 49, 24 * 31], [1, 25, 24 * 31]),
    ],
)
def test_what_stays_is_told_by_count_and_by_age(keep, hours, stay):
    assert dumps.staying([name(hour) for hour in hours], keep, NOW) == {name(hour) for hour in stay}


@given(
    st.sets(st.integers(0, 20000), min_size=1),
    st.dictionaries(st.sampled_from(["last", "daily", "weekly", "monthly", "within"]), st.integers(0, 9)),
)
def test_the_newest_stays_and_nothing_comes_back(hours, keep):
    names = {name(hour) for hour in hours}
    stay = dumps.staying(names, keep, NOW)
    assert max(names) in stay <= names
    assert dumps.staying(stay, keep, NOW) == stay


def test_one_that_is_not_sound_is_neither_counted_nor_removed(tmp_path):
    files = [put(tmp_path / "backups", name(hour)) for hour in (1, 2, 3, 4)]
    states = {file.name: {"state": "sound"} for file in files} | {files[0].name: {"state": "changed"}}
    assert dumps.prune(SETTINGS, tmp_path, states) == [files[3].name]
    assert [file.exists() for file in files] == [True, True, True, False]
    assert not any(file.exists() for file in dumps.companions(files[3]))


def test_those_before_migrations_are_counted_apart(tmp_path):
    before = [put(tmp_path / "backups", name(hour, "-before-0123456789ab")) for hour in (1, 2)]
    others = [put(tmp_path / "backups", name(hour)) for hour in (3, 4)]
    states = {file.name: {"state": "sound"} for file in (*before, *others)}
    assert dumps.prune(SETTINGS, tmp_path, states) == [before[1].name]
    assert dumps.prune({"keep_before": 0}, tmp_path, states) == [before[0].name]
    assert all(file.exists() for file in others)


# --- What their files say ---


def test_a_dump_is_what_was_written(tmp_path):
    file = put(tmp_path, name(1), rows={"a": 1})
    assert dumps.sound(file)["rows"] == {"a": 1}
    assert dumps.judge(file, {})["state"] == "sound"


@pytest.mark.parametrize("data", [b"dum", b"dumq", b"dump ", b""])
def test_a_dump_that_was_changed_is_told(tmp_path, data):
    file = put(tmp_path, name(1))
    file.write_bytes(data)
    assert dumps.judge(file, {})["state"] == "changed"
    with pytest.raises(dumps.DataError, match="its checksum differs"):
        dumps.sound(file)


def test_roles_that_were_changed_are_told(tmp_path):
    file = put(tmp_path, name(1))
    dumps.companions(file)[0].write_text("CREATE ROLE mallory SUPERUSER")
    assert dumps.judge(file, {})["state"] == "changed"
    with pytest.raises(dumps.DataError, match=r"globals\.sql is not what was written"):
        dumps.sound(file)


def test_a_file_that_was_read_is_not_read_again_unless_it_is_another(tmp_path, monkeypatch):
    file = put(tmp_path, name(1))
    known = {file.name: dumps.judge(file, {})}
    monkeypatch.setattr(dumps, "sha256", lambda path: "another")
    assert dumps.judge(file, known)["state"] == "sound"
    assert dumps.judge(file, known, thorough=True)["state"] == "changed"
    file.touch()
    assert dumps.judge(file, known)["state"] == "changed"


def test_a_dump_without_a_manifest_is_neither(tmp_path):
    file = put(tmp_path, name(1))
    dumps.companions(file)[1].unlink()
    assert dumps.judge(file, {})["state"] == "unknown"
    assert dumps.sound(file) == {}
    (told,) = dumps.problems({}, {}, [{"name": "a.dump", "checksum": "unknown", "age_hours": 1}], dumps.now())
    assert told == "a.dump has no manifest, so that nobody knows what it was."


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(tmp_path):
    file = put(tmp_path, name(1))
    dumps.companions(file)[1].write_text("{")
    assert dumps.judge(file, {})["state"] == "unknown"
    with pytest.raises(dumps.DataError, match=r"json cannot be read; use another backup"):
        dumps.sound(file)


def test_a_dump_of_another_database_is_told_without_a_manifest(tmp_path, monkeypatch):
    file = put(tmp_path, name(1))
    monkeypatch.setattr(
        dumps, "run", lambda *given, **more: ";\n; Archive created at\n;     dbname: my shop\n;     TOC Entries: 7\n"
    )
    dumps.of_this_database({"database": "my shop"}, "shop-restore", file)
    with pytest.raises(dumps.DataError, match=r"fastapi_database_name is shop and \S+ was made of my shop; use that one"):
        dumps.of_this_database({"database": "shop"}, "shop-restore", file)


def test_what_was_cut_off_is_removed_and_nothing_else(tmp_path):
    whole = put(tmp_path, name(1))
    cut = put(tmp_path, name(2))
    cut.unlink()
    (tmp_path / f".{name(3)}.partial").touch()
    (tmp_path / "notes.json").touch()
    (tmp_path / dumps.STATE).touch()
    dumps.tidy(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        whole.name, *(file.name for file in dumps.companions(whole)), "notes.json", dumps.STATE,
    }  # fmt: skip


OWNERS = [("shop", "shop"), ("order", '"order"'), ("Alt-Owner", '"Alt-Owner"'), ('a"b', '"a""b"')]


def told(written, rights, granted):
    return (
        f"CREATE ROLE {written};\nALTER ROLE {written} WITH {rights} LOGIN PASSWORD 'SCRAM-SHA-256$x' VALID UNTIL 'infinity';\n"
        "CREATE ROLE postgres2;\nALTER ROLE postgres2 WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$y';\n"
        f"ALTER ROLE {written} SET work_mem TO '7MB';\nGRANT team TO reader GRANTED BY {granted};\n"
    )


@pytest.mark.parametrize(("user", "written"), OWNERS)
def test_a_superuser_of_before_is_there_already_and_the_others_are_not(user, written):
    assert dumps.restorable(told(written, "SUPERUSER", written), user, user) == (
        "CREATE ROLE postgres2;\nALTER ROLE postgres2 WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$y';\n"
        f"ALTER ROLE {written} SET work_mem TO '7MB';\nGRANT team TO reader GRANTED BY {written};\n"
    )


@pytest.mark.parametrize(("user", "written"), OWNERS)
def test_the_owner_keeps_its_rights_and_gets_the_password_of_this_host(user, written):
    known = (
        told(written, "NOSUPERUSER CREATEDB", "postgres") + "CREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER LOGIN;\n"
    )
    assert dumps.restorable(known, "postgres", user) == (
        f"CREATE ROLE {written};\nALTER ROLE {written} WITH NOSUPERUSER CREATEDB LOGIN VALID UNTIL 'infinity';\n"
        "CREATE ROLE postgres2;\nALTER ROLE postgres2 WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$y';\n"
        f"ALTER ROLE {written} SET work_mem TO '7MB';\nGRANT team TO reader GRANTED BY postgres;\n"
    )


@pytest.mark.parametrize(("user", "written"), OWNERS)
def test_an_owner_that_is_no_superuser_any_more_has_nothing_of_it(user, written):
    assert dumps.restorable(told(written, "SUPERUSER", written), "postgres", user) == (
        f"CREATE ROLE {written};\nALTER ROLE {written} WITH LOGIN;\n"
        "CREATE ROLE postgres2;\nALTER ROLE postgres2 WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$y';\n"
        f"ALTER ROLE {written} SET work_mem TO '7MB';\nGRANT team TO reader;\n"
    )


@pytest.mark.parametrize(
    ("manifest", "superuser"),
    [
        ({}, "postgres"),
        ({"user": "shop", "superuser": "postgres"}, "postgres"),
        # Those of before, and a provider's.
        ({"user": "shop"}, "shop"),
        ({"user": "shop", "superuser": "shop"}, "shop"),
        ({"user": "shop", "superuser": "provider"}, "postgres"),
    ],
)
def test_the_superuser_of_a_restored_cluster_is_that_of_before(manifest, superuser):
    assert dumps.made_with(manifest) == superuser


def test_a_program_runs_as_the_superuser_that_the_data_names(tmp_path):
    def asked():
        command = ["sh", "-c", dumps.AS_SUPERUSER, "sh", "-c", 'echo "$PGUSER $PGBACKREST_PG1_USER $PGDATABASE"']
        made = {"PATH": "/usr/bin:/bin", "PGDATA": str(tmp_path), "POSTGRES_USER": "shop", "POSTGRES_DB": "data"}
        return subprocess.run(command, env=made, capture_output=True, text=True, check=True).stdout.strip()

    assert asked() == "shop shop data"
    (tmp_path / "drydock.superuser").write_text("postgres\n")
    assert asked() == "postgres postgres data"


@pytest.mark.parametrize("superuser", ["postgres", "shop"])
def test_who_the_superuser_is_is_written_down_once(tmp_path, superuser):
    """A cluster knows no other role than its own; what is asked in it is asked by PostgreSQL's own names."""
    (tmp_path / "psql").write_text(
        f'#!/bin/sh\necho "$PGOPTIONS" >> {tmp_path}/options\n'
        f'case "$*" in *--username={superuser}" "*) echo {superuser};; *) exit 2;; esac\n'
    )
    (tmp_path / "psql").chmod(0o755)
    (tmp_path / "data").mkdir()

    def settled():
        made = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PGDATA": str(tmp_path / "data")}
        command = ["sh", "-c", dumps.SETTLE, "sh", "shop"]
        return subprocess.run(command, env=made, capture_output=True, text=True, check=True).stdout

    assert settled() == "written\n"
    assert settled() == ""
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["drydock.superuser"]
    assert (tmp_path / "data" / "drydock.superuser").read_text() == f"{superuser}\n"
    assert set((tmp_path / "options").read_text().splitlines()) == {"-c search_path=pg_catalog"}


@pytest.mark.parametrize(("database", "beside"), [("shop", "postgres"), ("postgres", "template1")])
def test_a_database_is_made_anew_from_another_one(tmp_path, monkeypatch, database, beside):
    commands = []
    monkeypatch.setattr(dumps, "run", lambda command, what, **options: commands.append(command) or "")
    dumps.restore_into({"user": "shop", "database": database}, "shop-drill", put(tmp_path, name(1)), {"server": 17})
    assert [command[-1] for command in commands if "pg_restore" in command] == [f"--dbname={beside}"]


@pytest.mark.parametrize(
    ("version", "provider"),
    [
        (14, ""),
        (15, " --locale-provider=libc"),
        (16, " --locale-provider=libc"),
        (17, " --locale-provider=builtin --builtin-locale=C.UTF-8"),
        (18, " --locale-provider=builtin --builtin-locale=C.UTF-8"),
    ],
)
def test_a_new_database_names_its_locale_provider(version, provider):
    known = "--data-checksums --encoding=UTF8 --auth-host=scram-sha-256 --locale=C.UTF-8"
    assert dumps.initdb_arguments(version) == known + provider


@pytest.mark.parametrize(
    ("image", "manifest", "version"),
    [
        ("postgres:17-trixie", {"server": 17}, 17),
        ("postgres:17-trixie", {"server": 14}, 14),
        ("postgres:17-trixie", {"server": 14, "programs": 17}, 17),
        ("postgres:15", {"server": 15}, 15),
        # Whoever made it, it may name no locale provider.
        ("postgres:17-trixie", {}, 0),
    ],
)
def test_a_volume_for_a_dump_is_made_as_the_dump_needs_it(image, manifest, version):
    assert dumps.made_for({"image": image}, manifest) == version


def test_what_a_server_says_at_the_login_is_no_row(tmp_path, monkeypatch):
    psql = tmp_path / "docker"
    psql.write_text(
        "#!/bin/sh\necho 'WARNING:  database \"shop\" has a collation version mismatch' >&2\n"
        'while read -r line; do case $line in ?echo*) echo "${line#?echo }";; SELECT*) echo shop;; esac; done\n'
    )
    psql.chmod(0o755)
    monkeypatch.setattr(dumps, "which", lambda program: str(psql))
    with dumps.Session("shop-db-1") as session:
        assert session.rows("SELECT session_user;") == ["shop"]


def test_a_session_that_is_refused_is_gone(tmp_path, monkeypatch):
    psql = tmp_path / "docker"
    psql.write_text("#!/bin/sh\necho 'psql: error: refused'; exit 2\n")
    psql.chmod(0o755)
    monkeypatch.setattr(dumps, "which", lambda program: str(psql))
    session = dumps.Session("shop-db-1")
    with pytest.raises(dumps.DataError, match="psql: error: refused"), session:
        pass
    assert session.process.returncode == 2


def test_rows_that_differ_are_told(monkeypatch):
    class Session:
        def __init__(self, container):
            """Ask nobody."""

        def __enter__(self):
            return self

        def __exit__(self, *error):
            """Nothing was opened."""

        def contents(self):
            return {
                "database": "shop", "revision": "b", "large_objects": 1, "encoding": "UTF8",
                "extensions": {}, "rows": {"a": 1, "new": 0},
            }  # fmt: skip

    monkeypatch.setattr(dumps, "Session", Session)
    manifest = {
        "superuser": "postgres", "revision": "a", "large_objects": 1,
        "rows": {"a": 2, "gone": 3}, "extensions": {"pg_trgm": "1.6"},
    }  # fmt: skip
    assert dumps.differences("c", manifest) == [
        "a had 2 rows, and has 1",
        "gone had 3 rows, and has none",
        "new had no rows, and has 0",
        "revision was a, and is b",
        "the extension pg_trgm is missing",
    ]
    assert dumps.differences("c", {}) == []
    # One of an earlier version, which saw the revision along the search path alone.
    assert dumps.differences("c", {"revision": "", "rows": {"a": 1, "new": 0}}) == []


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"database": "other"}, "fastapi_database_name is shop and .* was made of other"),
        ({"user": "other"}, "fastapi_database_user is shop and .* was made of other"),
        ({"server": 18}, "is of PostgreSQL 18; use an image of that version"),
    ],
)
def test_a_dump_of_another_database_is_refused(manifest, said):
    settings = {"database": "shop", "user": "shop", "image": "reg:5000/postgres:17-trixie"}
    good = {"database": "shop", "user": "shop", "server": 17}
    dumps.belongs(settings, good, Path("x.dump"))
    dumps.belongs(settings, {}, Path("x.dump"))
    with pytest.raises(dumps.DataError, match=said):
        dumps.belongs(settings, good | manifest, Path("x.dump"))


# --- What is told of them ---


@pytest.mark.parametrize("folder", ["copies", "the copies"])
def test_a_destination_that_is_suddenly_empty_is_told(tmp_path, monkeypatch, folder):
    target, there = tmp_path / folder, "20260331T120000Z.json\n"
    for place in (target, tmp_path / "backups"):
        place.mkdir()
    (tmp_path / "backups" / dumps.COPIED).write_text(f"{target} {there}")
    monkeypatch.setattr(dumps, "rclone", lambda *arguments, what: there)
    settings = {**SETTINGS, "copy_to": str(target)}
    assert dumps.copied_names(settings, tmp_path) == there.split()
    monkeypatch.setattr(dumps, "rclone", lambda *arguments, what: "")
    with pytest.raises(dumps.DataError, match="is it mounted"):
        dumps.copied_names(settings, tmp_path)


@pytest.mark.parametrize("other", [{"host": "two"}, {"name": "site"}])
def test_copies_of_another_are_left_alone(tmp_path, monkeypatch, other):
    target = tmp_path / "copies"
    target.mkdir()

    def rclone(root, command, *arguments, what):
        if command == "lsf":
            return "".join(f"{file.name}\n" for file in target.iterdir())
        assert command == "copyto"
        Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes())
        return ""

    monkeypatch.setattr(dumps, "rclone", rclone)
    first = {**SETTINGS, "copy_to": str(target), "encrypt_to": ""}
    for number in range(3):
        root = tmp_path / str(number)
        dump = put(root / "backups", name(number))
        dumps.change_state(root, checks={dump.name: {"state": "sound", "seen": []}})
    # The settings of an earlier version do not say the host.
    assert dumps.copy_out({part: told for part, told in first.items() if part != "host"}, tmp_path / "0") == [name(0)]
    assert not [file for file in target.iterdir() if file.name.endswith(".owner")]
    dumps.copy_out(first, tmp_path / "0")
    assert "shop@one.owner" in {file.name for file in target.iterdir()}
    # A new server under the old name.
    assert dumps.copy_out(first, tmp_path / "1") == [name(0), name(1)]
    there = {file.name for file in target.iterdir()}
    with pytest.raises(dumps.DataError, match=r"the copies there are those of shop@one; .* remove .*/shop@one\.owner"):
        dumps.copy_out({**first, **other}, tmp_path / "2")
    assert {file.name for file in target.iterdir()} == there


def test_names_of_hosts_stay_apart_where_a_file_cannot_be_named_so():
    names = {dumps.owner({**SETTINGS, "host": host}) for host in ("web 1", "web:1", "web/1", "web_1", "web-1")}
    assert len(names) == 5
    assert {"shop@web_1.owner", "shop@web-1.owner"} < names


def test_no_copies_are_kept_where_the_backups_are(tmp_path):
    (tmp_path / "backups").mkdir()
    (tmp_path / "copies").symlink_to("backups")
    with pytest.raises(dumps.DataError, match="/copies, which is where the backups are; give another folder"):
        dumps.copy_out({**SETTINGS, "copy_to": str(tmp_path / "copies"), "encrypt_to": ""}, tmp_path)


def test_what_needs_a_look_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(dumps, "now", lambda: NOW)
    put(tmp_path / "backups", name(30))
    put(tmp_path / "backups", name(1)).write_bytes(b"x")
    with dumps.alone(tmp_path, "A test"):
        dumps.change_state(
            tmp_path,
            last={"at": "t1", "ok": False, "message": "the disk is full"},
            proof={"at": "t2", "ok": False, "message": "no room", "name": name(1)},
        )
    told = dumps.listing(SETTINGS, tmp_path)
    assert [dump["checksum"] for dump in told["backups"]] == ["changed", "sound"]
    assert told["problems"] == [
        "The last backup failed at t1: the disk is full",
        "The newest sound backup is 30.0 hours old, and 26 are allowed: it is overdue.",
        f"{name(1)} is not what was written: its checksum differs.",
        "The last drill failed at t2: no room",
    ]


def test_a_stack_without_a_schedule_is_never_overdue(tmp_path):
    assert dumps.listing(SETTINGS, tmp_path)["problems"] == ["There is no sound backup yet."]
    assert dumps.listing(SETTINGS | {"schedule": ""}, tmp_path)["problems"] == []


def test_days_since_the_last_proof():
    assert dumps.proven_days({}, NOW) is None
    assert dumps.proven_days({"proven": "2026-03-29T12:00:00Z"}, NOW) == 2


def test_one_that_is_removed_meanwhile_is_not_listed(tmp_path, monkeypatch):
    stays, goes = (put(tmp_path / "backups", name(hour)) for hour in (1, 2))
    monkeypatch.setattr(dumps, "dumps", lambda folder: [stays, goes])
    goes.unlink()
    assert [dump["name"] for dump in dumps.listing(SETTINGS, tmp_path)["backups"]] == [stays.name]


def test_two_at_once_one_waits_and_then_refuses(tmp_path):
    with (
        dumps.alone(tmp_path, "A drill"),
        pytest.raises(dumps.DataError, match=r"A drill \(process .* has not ended after 0 s"),
        dumps.alone(tmp_path, "A backup", wait=0),
    ):
        pass
    with dumps.alone(tmp_path, "A backup", wait=0):
        pass
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700


def test_the_program_runs_by_itself(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "data"
    program.write_bytes(Path(dumps.__file__).read_bytes())
    command = [sys.executable, "-I", str(program)]
    assert subprocess.run([*command, "list"], capture_output=True, check=False).returncode == 2
    (tmp_path / dumps.SETTINGS).write_text(json.dumps(SETTINGS))
    told = subprocess.run([*command, "list"], capture_output=True, check=True)
    assert json.loads(told.stdout)["problems"] == ["There is no sound backup yet."]


def test_a_failure_calls_the_operator(tmp_path):
    settings = SETTINGS | {"alert": ["sh", "-c", f"cat > {tmp_path}/said; echo $DRYDOCK_STACK >> {tmp_path}/said"]}
    dumps.alert(settings, "the backup failed")
    assert (tmp_path / "said").read_text() == "the backup failed\nshop\n"


@pytest.mark.parametrize(("command", "said"), [(["/nonexistent"], "No such file"), (["false"], "exit status 1")])
def test_an_operator_who_cannot_be_called_is_told_where_the_run_is(command, said, capsys):
    dumps.alert(SETTINGS | {"alert": command}, "x")
    assert "shop: fastapi_alert_command told nobody: " in (told := capsys.readouterr().err)
    assert said in told


def test_a_backup_leaves_the_database_room_on_their_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(dumps.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000_000))
    zeros = ["head", "--bytes=4000000", "/dev/zero"]
    _, told = dumps.written(tmp_path / "dump", zeros, "pg_dump", {}, spare=5_000_000)
    assert told["bytes"] == 4_000_000
    monkeypatch.setattr(dumps.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    with pytest.raises(dumps.DataError, match=r"0\.0 GB free, and 0\.0 GB of it are left to the database"):
        dumps.written(tmp_path / "dump", zeros, "pg_dump", {}, spare=5_000_000)
    assert dumps.written(tmp_path / "dump", zeros, "pg_dump", {}, spare=0)[1]["bytes"] == 4_000_000


def test_room_is_left_on_a_disk_that_is_the_engine_s_alone(tmp_path, monkeypatch):
    (tmp_path / "backups").mkdir()
    monkeypatch.setattr(dumps, "engine_folder", lambda root: tmp_path)
    assert dumps.spare(tmp_path) == dumps.SPARE
    monkeypatch.setattr(dumps, "engine_folder", lambda root: Path("/proc"))
    assert dumps.spare(tmp_path) == 0


@pytest.mark.parametrize(("settings", "preloaded"), [({}, []), ({"preload": "timescaledb"}, ["timescaledb"])])
def test_what_is_restored_has_the_libraries_of_the_live_database(settings, preloaded, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(dumps, "run", lambda command, *words, **more: asked.append(command) or "ready")
    known = {"name": "shop", "database": "d", "user": "u", "image": "postgres:17", "mount": "/m", **settings}
    dumps.database_starts(known, tmp_path, "shop-drill", "v", {}, durable=False)
    found = [word.partition("=")[2] for word in asked[0] if word.startswith("shared_preload_libraries=")]
    assert found == preloaded


def test_another_version_asks_the_live_database_with_its_own_programs(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    place = dumps.Place({"name": "shop", "database": "d", "user": "u"}, tmp_path, "postgres:17")
    command = place.program("pg_dump")
    assert "container:shop-db-1" in command
    assert command[-2:] == ["postgres:17", "pg_dump"]
    assert "s3cret" not in " ".join(command)
    assert "PGUSER=u" in command
    superuser = dumps.Place({"name": "shop", "database": "d", "user": "u"}, tmp_path, "postgres:17", ("postgres", "fleeting"))
    assert "PGUSER=postgres" in superuser.program("pg_dump")
    assert superuser.secret == {"PGPASSWORD": "fleeting"}
    assert place.tells_passwords
    assert not dumps.Place({"name": "shop", "elsewhere": {"host": "h"}}, tmp_path).tells_passwords


def test_a_password_that_is_being_taken_over_is_the_database_s(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("of before")
    settings = {"name": "shop", "elsewhere": {"host": "h"}}
    assert dumps.Place(settings, tmp_path).secret == {"PGPASSWORD": "of before"}
    (tmp_path / "secrets" / "database_password.new").write_text("of now")
    assert dumps.Place(settings, tmp_path).secret == {"PGPASSWORD": "of now"}
    assert dumps.Place({"name": "shop"}, tmp_path).secret == {}


def test_no_time_limit_of_the_application_s_ends_what_is_done_with_its_data():
    for command in (dumps.inside("shop-restore", "vacuumdb"), dumps.Place({"name": "shop"}, Path("/x")).program("pg_dump")):
        assert any(word.startswith("PGOPTIONS=-c statement_timeout=0 ") for word in command)


def test_hosts_that_share_a_database_tell_their_sessions_apart(tmp_path, monkeypatch):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    elsewhere = {"host": "h", "port": 5432, "sslmode": "require", "name": "d", "user": "u", "image": "postgres:17"}
    names = []
    for host in ("one", "two"):
        monkeypatch.setattr(dumps.socket, "gethostname", lambda host=host: host)
        place = dumps.Place({"name": "shop", "elsewhere": elsewhere}, tmp_path)
        names += [word for word in place.program("psql") if word.startswith("PGAPPNAME=")]
    assert names == ["PGAPPNAME=drydock-backup-one", "PGAPPNAME=drydock-backup-two"]


def test_a_dump_needs_the_version_that_made_it():
    settings = {"database": "shop", "user": "shop", "image": "postgres:15-bookworm"}
    manifest = {"database": "shop", "user": "shop", "server": 15}
    dumps.belongs(settings, manifest, Path("x.dump"))
    with pytest.raises(dumps.DataError, match="is of PostgreSQL 17"):
        dumps.belongs(settings, {**manifest, "programs": 17}, Path("x.dump"))
