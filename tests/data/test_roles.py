"""Who owns what in the database: of a cluster that an earlier version made, and of one whose first start was cut off."""

from __future__ import annotations

import json
import time

import pytest

IMAGE = "postgres:17-trixie"
LABELS = {
    "com.docker.compose.project": "fault", "com.docker.compose.volume": "postgres_data", "drydock.database": "fault",
    "drydock.user": "fault",
}  # fmt: skip
SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = 'fault'"
TOLD = "was made by an earlier version"


def edition():
    return f"roles {time.time():.0f}"


def made(server, superuser, database):
    """Make the data of a stack that is not there as a container does by itself; its password is `of-before`."""
    server.works("remove", fastapi_remove_data="fault")
    labels = " ".join(f"--label {name}={value}" for name, value in LABELS.items())
    server.sh(f"docker volume create {labels} fault_postgres_data")
    server.sh(
        "docker run --detach --name made --user 999:999 --network none --tmpfs /run/postgresql:uid=999,gid=999,mode=3775 "
        f"--env POSTGRES_USER={superuser} --env POSTGRES_DB={database} --env POSTGRES_PASSWORD=of-before "
        "--env 'POSTGRES_INITDB_ARGS=--data-checksums --auth-host=scram-sha-256' "
        f"--mount type=volume,source=fault_postgres_data,target=/var/lib/postgresql/data {IMAGE}"
    )
    server.sh("until docker exec made pg_isready --quiet --host=127.0.0.1; do sleep 0.2; done", timeout=60)
    server.sh("docker stop made; docker rm made")


def of_before(server):
    """Have a stack whose data an earlier version made, with roles, rights and a table of its own."""
    made(server, "fault", "fault")
    server.works("deploy", fastapi_database_password="of-before")
    server.sql("CREATE ROLE team; CREATE ROLE reader LOGIN PASSWORD 'r3ader'; GRANT team TO reader; GRANT pg_monitor TO fault")
    server.sql("ALTER ROLE fault SET work_mem = '7MB'; CREATE TABLE kept AS SELECT 1 AS n; GRANT SELECT ON kept TO reader")


@pytest.fixture(scope="module", autouse=True)
def afterwards(server):
    yield
    server.works("remove", fastapi_remove_data="fault")
    server.works("deploy")


def database(server):
    return server.sh("docker inspect --format '{{.Id}}' fault-db-1")


def problems(server, tmp_path):
    file = tmp_path / "status.json"
    server.works("status", fastapi_status_file=str(file))
    return json.loads(file.read_text())["database"]["problems"]


def test_a_first_start_that_was_cut_off(server):
    """The cluster is there, and neither role nor database: the next deploy makes them, and the same again changes nothing."""
    made(server, "postgres", "postgres")
    server.works("deploy", fastapi_database_password="of-before")
    server.wait_until_serving()
    assert server.sql(SUPERUSER) == "f"
    assert server.admin("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"
    assert "changed=0" in server.works("deploy")


@pytest.mark.long
def test_a_cluster_of_before_goes_on_as_it_is(server, tmp_path):
    """Its superuser is the application's role, and stays so through deploy, backup, drill, restore, rotation; which is told."""
    of_before(server)
    assert "POSTGRES_USER=fault" in server.sh("docker inspect --format '{{.Config.Env}}' fault-db-1")
    live = database(server)
    assert "changed=0" in server.works("deploy")
    said = server.works("deploy", lab_edition=edition())
    assert TOLD in said
    assert database(server) == live
    (problem,) = problems(server, tmp_path)
    assert TOLD in problem
    server.backup()
    server.works("drill")
    server.works("restore", fastapi_restore_confirm="fault")
    server.works("rotate_password")
    server.wait_until_serving()
    assert server.sql(SUPERUSER) == "t"
    assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'postgres'") == "0"
    assert server.sql("SELECT n FROM kept") == "1"
    server.is_clean()


def test_a_cluster_of_before_gets_a_superuser_of_its_own(server, tmp_path):
    """By what the message says, the application's role owns its database alone; from there on all works as with a new one."""
    of_before(server)
    dump = server.backup()
    server.sh(
        f"mkdir -p /root/own && cp /opt/fault/backups/{dump[:16]}.dump /opt/fault/backups/{dump[:16]}.globals.sql /root/own"
    )
    server.works("restore", fastapi_restore_confirm="fault", fastapi_restore_from=f"/root/own/{dump}")
    server.wait_until_serving()
    assert server.sql(SUPERUSER) == "f"
    assert server.admin("SELECT rolsuper AND rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"
    assert server.sql("SELECT n FROM kept") == "1"
    assert server.sql("SELECT pg_has_role('reader', 'team', 'member') AND has_table_privilege('reader', 'kept', 'SELECT')") == "t"
    assert server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'") == "fault"
    assert server.sql("SELECT pg_has_role('pg_monitor', 'member'); SHOW work_mem").split() == ["t", "7MB"]
    live = database(server)
    # The container says who the superuser was, and is not made anew for it: that stands in the data.
    said = server.works("deploy", lab_edition=edition())
    assert TOLD not in said
    assert database(server) == live
    assert problems(server, tmp_path) == []
    server.backup()
    server.works("drill")
    server.works("rotate_password")
    server.works("rollback")
    server.works("restore", fastapi_restore_confirm="fault")
    server.wait_until_serving()
    assert server.sql(SUPERUSER) == "f"
    server.is_clean()


def test_a_stack_that_was_removed_finds_its_superuser_again(server):
    """Only the data is left: who its superuser is stands there."""
    server.works("remove")
    server.works("deploy")
    server.wait_until_serving()
    assert server.sql(SUPERUSER) == "f"
    server.works("backup")
    server.works("drill")
