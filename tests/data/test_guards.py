"""What a deploy looks at in the data before it touches anything, on a real server: refused or told, with what mends it."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest

# Each of them makes one of the warnings.
SETTINGS = {
    "max_connections": 20, "superuser_reserved_connections": 0, "archive_mode": True, "archive_command": "false",
    "max_wal_size": "32MB", "min_wal_size": "32MB",
}  # fmt: skip
LOCALES = "SELECT DISTINCT pg_encoding_to_char(encoding), datlocprovider, datlocale, datcollate FROM pg_database"
NOT_ARCHIVED = "SELECT failed_count > 0 FROM pg_stat_archiver"
OTHER_COLLATION = "UPDATE pg_database SET datcollversion = '0' WHERE datname = 'fault'"
WARNINGS = (
    "The collation of the database fault was of version 0",
    "The database of fault has data_checksums off, and on is expected",
    "connections of the 20 of max_connections are taken",
    "The replication slot left holds",
    "WAL is not archived",
    "are expected, as max_wal_size and wal_keep_size say",
)


def edition():
    return f"guards {time.time():.0f}"


def touched(server):
    """Return what a deploy that is refused leaves as it was."""
    return server.sh(
        "docker ps --all --no-trunc --quiet; ls -A /opt/fault/releases /opt/fault/secrets /opt/fault/proxy/live; "
        "cat /opt/fault/current/.env"
    )


def problems(server, tmp_path):
    """Return what the status says of the database, as data; the table says the same."""
    file = tmp_path / "status.json"
    said = server.works("status", fastapi_status_file=str(file))
    found = json.loads(file.read_text())["database"]["problems"]
    assert said.count("Database: ") == len(found)
    return found


def test_a_new_database_is_made_with_checksums_and_a_named_locale(server):
    """A new database: checksums on, scram-sha-256 for everybody on the network, UTF-8, a locale that no library changes."""
    assert server.sql("SHOW data_checksums") == "on"
    assert server.sql(LOCALES) == "UTF8|b|C.UTF-8|C.UTF-8"
    assert server.admin("SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE type <> 'local'") == "scram-sha-256"
    assert server.admin("SELECT rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname = 'fault'") == "t"


def test_data_of_another_owner(server):
    """The volume holds the data of another owner, or another database: refused, with both names."""
    for variable in ("fastapi_database_user", "fastapi_database_name"):
        server.fails("deploy", f"{variable} is other and the volume", "was made with fault; use that one", **{variable: "other"})


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"wal_level": "minimal"}, "WAL streaming ("), ({"work_memory": "1MB"}, 'parameter "work_memory"')],
    ids=["together with others", "unknown"],
)
def test_settings_that_the_database_does_not_start_with(server, setting, said):
    """Settings of PostgreSQL that are told apart by its start alone: refused, and the database runs on."""
    before = server.sh("docker inspect --format '{{.Id}} {{.State.StartedAt}}' fault-db-1")
    server.fails("deploy", "Ensure the database takes its settings", said, fastapi_postgres_settings=setting)
    assert server.sh("docker inspect --format '{{.Id}} {{.State.StartedAt}}' fault-db-1") == before


def test_no_backup_was_proven(server):
    """No backup was proven for so many days: refused, until a drill has proven one."""
    state, rule = "/opt/fault/backups/state.json", {"fastapi_require_proven_restore_days": 30}
    server.backup()
    known = json.loads(server.sh(f"cat {state}"))
    for proven, said in (({}, "success never"), ({"proven": "2020-01-01T00:00:00Z"}, "days ago")):
        told = json.dumps({**{key: value for key, value in known.items() if key != "proven"}, **proven})
        server.sh(f"cat > {state} <<'EOF'\n{told}\nEOF")
        server.fails("deploy", "fastapi_require_proven_restore_days is 30", f"{said}; run the playbook drill", **rule)
    server.works("drill")
    server.works("deploy", **rule)


def test_a_password_changed_by_hand(server):
    """The password changed by hand on the database: a deploy is refused with nothing touched, and a rotation mends it."""
    before = touched(server)
    # Of this the server warns at each login.
    server.admin(OTHER_COLLATION)
    server.sql("ALTER ROLE fault PASSWORD 'by hand'")
    new = edition()
    for options in (["--check"], []):
        code, said = server.ended(server.start("deploy", *options, lab_edition=new))
        assert code != 0, said[-3000:]
        assert "does not take its role over TCP with the password in /opt/fault/secrets/database_password" in said
        assert "password authentication failed for user" in said
        assert "The playbook rotate_password gives another one to both" in said
    assert touched(server) == before
    server.works("rotate_password")
    server.wait_until_serving()
    server.sql("ALTER DATABASE fault REFRESH COLLATION VERSION")
    server.works("deploy", lab_edition=new)


def test_what_is_to_be_looked_into(server, tmp_path):
    """Collation, checksums, connections, a slot, the archiver, WAL: in the plan, after a deploy and in the status; and mended."""
    server.works("deploy", fastapi_postgres_settings=SETTINGS)
    checksums = "docker compose run --rm --no-deps --entrypoint pg_checksums db --disable"
    server.sh(f"cd /opt/fault/current && docker compose stop db && {checksums}; docker compose start db")
    server.wait_until_serving()
    server.admin(OTHER_COLLATION)
    server.admin("SELECT pg_create_physical_replication_slot('left', true)")
    psql = "docker exec --interactive fault-db-1 psql -qAtU postgres -d fault"
    switch = "SELECT pg_logical_emit_message(false, 'x', 'y'); SELECT pg_switch_wal();"
    server.sh(f'for i in 1 2 3 4 5; do echo "{switch}"; done | {psql}')
    idle = "for i in $(seq 16); do psql -qU fault -d fault -c 'SELECT pg_sleep(600)' & done; wait"
    server.sh(f"docker exec --detach fault-db-1 sh -c {shlex.quote(idle)}")
    server.sh(f"until [ $({psql} -c '{NOT_ARCHIVED}') = t ]; do sleep 0.5; done")
    found = problems(server, tmp_path)
    assert [warning in told for warning, told in zip(WARNINGS, found, strict=True)] == [True] * len(WARNINGS), found
    plan = server.works("deploy", "--check", lab_edition="planned")
    assert plan.count("look into: ") == len(WARNINGS)
    # With the role's own settings, which mend what these have made.
    said = server.works("deploy", lab_edition=edition())
    assert [warning in said for warning in WARNINGS] == [True] * len(WARNINGS)
    assert said.count("Look into: ") == len(WARNINGS)
    # The rest by the commands that the messages name.
    for message in (found[0], found[3]):
        server.works("psql", fastapi_psql_query=re.search(r"playbook psql: (.*;)", message)[1])
    server.sh(re.search(r"run on the host, as root: (.*)", found[1])[1])
    server.wait_until_serving()
    assert problems(server, tmp_path) == []
    assert server.sql("SHOW data_checksums") == "on"
