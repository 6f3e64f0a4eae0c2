"""The data is taken to another major version of PostgreSQL, equal by checksums; a failing upgrade changes nothing; and back."""

from __future__ import annotations

import re

import pytest

OLD, NEW = "postgres:15-bookworm", "postgres:17-trixie"
ROLES = "CREATE ROLE team; CREATE ROLE reader LOGIN PASSWORD 'r3ader'; GRANT team TO reader; GRANT pg_monitor TO fault"
MADE = """
CREATE EXTENSION pg_trgm;
CREATE TABLE things AS SELECT i, md5(i::text) AS t, i / 7.0::float8 AS f, now() AS at FROM generate_series(1, 100000) i;
GRANT SELECT ON things TO reader; CREATE INDEX ON things USING gin (t gin_trgm_ops);
CREATE SEQUENCE numbers; SELECT setval('numbers', 777); SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'));
"""
SUMS = """
SELECT count(*), sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint) FROM things t; SELECT last_value FROM numbers;
SELECT md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject; SELECT pg_has_role('reader', 'team', 'member');
SELECT md5(rolpassword) FROM pg_authid WHERE rolname = 'reader'; SELECT has_table_privilege('reader', 'things', 'SELECT');
SELECT extname FROM pg_extension ORDER BY 1; SELECT version_num FROM alembic_version;
SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolpassword IS NULL FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1;
SELECT pg_has_role('fault', 'pg_monitor', 'member'); SELECT tableowner FROM pg_tables WHERE tablename = 'things';
"""


@pytest.fixture(scope="module")
def old(server):
    """The server with data of the older version; what was there goes."""
    server.works("remove", fastapi_remove_data="fault")
    server.works("deploy", fastapi_postgres_image=OLD)
    server.admin(ROLES)
    server.sql(MADE.replace("\n", " "))
    server.backup()
    yield server
    server.works("remove", fastapi_remove_data="fault")
    server.works("deploy")


def sums(server):
    return server.admin(SUMS.replace("\n", " "))


def locales(server):
    """Return provider and locale of the server's databases, template1 the last one."""
    return server.sql(
        "SELECT datlocprovider, datcollate FROM pg_database WHERE datname ~ '^(f|template1)' ORDER BY datname"
    ).split()


def version(server):
    return server.sql("SHOW server_version").split(".")[0]


def test_an_upgrade_that_is_refused(old):
    """Not confirmed, by a plain deploy, or beside another database: refused, nothing touched."""
    live = old.sh("docker inspect --format '{{.Id}}' fault-db-1")
    old.fails("deploy", "holds data of PostgreSQL 15", "with the playbook upgrade_postgres")
    old.fails("upgrade_postgres", "fastapi_upgrade_confirm is not set and the stack is fault")
    old.admin("CREATE DATABASE other")
    old.fails("upgrade_postgres", "databases other, which would stay behind", fastapi_upgrade_confirm="fault")
    old.admin("DROP DATABASE other")
    assert old.sh("docker inspect --format '{{.Id}}' fault-db-1") == live
    assert old.answers()
    old.is_clean()


def test_an_upgrade_that_fails(old):
    """The new version cannot take what there is, or the application does not come up on it: the old one serves as before."""
    before = sums(old)
    # PostgreSQL 17 has no such column any more.
    old.sql("CREATE VIEW gone AS SELECT buffers_backend FROM pg_stat_bgwriter")
    for why, more in (("cannot be restored", {}), ("fastapi_smoke_command ended with 1", {"fastapi_smoke_command": ["false"]})):
        old.fails("upgrade_postgres", why, "serves as before", fastapi_upgrade_confirm="fault", **more)
        old.wait_until_serving()
        assert version(old) == "15"
        assert sums(old) == before
        assert old.sh("ls /opt/fault/proxy/live") in ("blue", "green")
        old.is_clean()
        old.sql("DROP VIEW IF EXISTS gone")


def cut_off(server, until):
    """Start an upgrade, and cut it off once a command succeeds on the server; return what it had said."""
    process = server.start("upgrade_postgres", fastapi_upgrade_confirm="fault")
    server.sh(f"until {until}; do sleep 0.1; done", timeout=150)
    return server.cut_off(process)


def test_an_upgrade_that_is_cut_off(old):
    """Killed while the data is taken over: a deploy as before serves as before, with the door open and nothing left over."""
    before = sums(old)
    volumes = old.sh("docker volume ls --quiet | sort")
    cut_off(old, until="docker exec fault-restore psql -U fault -d fault -c 'SELECT 1 FROM things LIMIT 1' >/dev/null 2>&1")
    assert old.sh("cat /opt/fault/proxy/live/maintenance") == "by a run"
    old.works("deploy", fastapi_postgres_image=OLD)
    old.wait_until_serving()
    assert version(old) == "15"
    assert sums(old) == before
    assert old.sh("ls /opt/fault/proxy/live") in ("blue", "green")
    assert old.sh("docker volume ls --quiet | sort") == volumes
    old.is_clean()


def test_an_upgrade_and_the_way_back(old, figure):
    """To the newer version, though killed after the switch, equal by checksums; back to the volume of before, once confirmed."""
    before = sums(old)
    assert locales(old) == ["c|C.UTF-8", "c|C.UTF-8"]
    said = cut_off(old, until="docker inspect --format '{{.Config.Image}}' fault-db-1 2>/dev/null | grep -q 17-trixie")
    old.fails("deploy", "holds data of PostgreSQL 17", fastapi_postgres_image=OLD)
    old.works("upgrade_postgres", fastapi_upgrade_confirm="fault")
    old.wait_until_serving()
    assert version(old) == "17"
    assert sums(old) == before
    # The data keeps its locale, whatever a new database has.
    assert locales(old) == ["c|C.UTF-8", "b|C.UTF-8"]
    assert old.sh("ls /opt/fault/proxy/live") in ("blue", "green")
    old.works("drill")
    # A limit of the application's own, which is new in 17, is none for a backup.
    old.sql("ALTER DATABASE fault SET transaction_timeout = '100ms'")
    old.backup()
    old.sql("ALTER DATABASE fault RESET transaction_timeout; CREATE TABLE newer (n int)")
    # The data of before has another password.
    old.works("rotate_password")
    old.fails("rollback", "what was written since is not in it", "fastapi_upgrade_confirm is not set")
    assert version(old) == "17"
    old.works("rollback", fastapi_upgrade_confirm="fault")
    old.wait_until_serving()
    assert version(old) == "15"
    assert sums(old) == before
    assert old.sql("SELECT to_regclass('newer') IS NULL") == "t"
    old.is_clean()
    figure(f"dumped, restored and compared in {re.search(r'; ([0-9.]+) s[.] That of', said)[1]} s, and back")
