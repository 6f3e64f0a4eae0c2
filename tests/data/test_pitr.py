"""The database is archived, and taken back to a moment; whatever becomes of the repository, the database runs on."""

from __future__ import annotations

import json
import re
import time

import pytest

PITR = {"fastapi_pitr_enabled": True, "fastapi_pitr_repository": "/srv/archive", "fastapi_pitr_encrypted": True}
RESTORE = {**PITR, "fastapi_restore_confirm": "fault"}
CONFIGURATION = "/opt/fault/secrets/pgbackrest/pgbackrest.conf"


class Archived:
    """The server with its stack archived, in a folder that is a mount."""

    def __init__(self, server) -> None:
        self.server = server

    def __getattr__(self, name):
        return getattr(self.server, name)

    def health(self):
        return json.loads(self.sh("/opt/fault/bin/archive list"))

    def until(self, what, seconds=90):
        """Wait until the archive is as it is to be; return how long that took."""
        began = time.monotonic()
        while not what(self.health()):
            assert time.monotonic() < began + seconds, self.health()
            time.sleep(1)
        return time.monotonic() - began

    def segments(self, count=1):
        """Have the database write so many segments, and part of another."""
        for _ in range(count):
            self.admin("INSERT INTO moments VALUES ('more'); SELECT pg_switch_wal()")

    def now(self):
        """Return the database's time, with other transactions before and after it."""
        time.sleep(1.1)
        found = self.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')".replace('"', '\\"'))
        time.sleep(1.1)
        return found

    def rows(self):
        return self.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM moments WHERE name <> 'more'")


@pytest.fixture(scope="module")
def archived(server):
    server.sql("DROP TABLE IF EXISTS big; DROP TABLE IF EXISTS moments; CREATE TABLE moments (name text)")
    server.sh("mkdir -p /srv/disk /srv/archive && mount --bind /srv/disk /srv/archive")
    server.works("deploy", **PITR)
    yield Archived(server)
    server.works("deploy")
    server.sh("umount /srv/archive; rm -rf /srv/disk /srv/archive /opt/fault/secrets/pgbackrest*")
    assert server.sql("SHOW archive_mode") == "off"
    assert server.sh("ls /opt/fault/bin") == "data"


def test_the_archive_begins(archived, figure):
    """Once it is enabled, all times from then on can be restored; the same run again changes nothing, and no secret is told."""
    health = archived.health()
    assert health["problems"] == []
    assert [backup["type"] for backup in health["backups"]] == ["full"]
    secret = archived.sh("cat /opt/fault/secrets/pgbackrest_passphrase")
    assert archived.sh(f"stat -c '%a %u' {CONFIGURATION} /opt/fault/secrets/pgbackrest_passphrase | sort -u") == "400 999"
    live = archived.sh("docker inspect --format '{{.Id}}' fault-db-1")
    began = time.monotonic()
    said = archived.works("deploy", **PITR)
    figure(f"a deploy with nothing to do, the archive checked: {time.monotonic() - began:.1f} s")
    assert "changed=0" in said
    assert archived.sh("docker inspect --format '{{.Id}}' fault-db-1") == live
    told = archived.sh(
        "docker inspect fault-db-1; docker history --no-trunc $(docker inspect --format '{{.Image}}' fault-db-1); "
        "docker logs fault-db-1 2>&1; ps -ef; cat /opt/fault/current/compose.yaml /opt/fault/backup.json"
    )
    assert len(secret) > 40
    assert secret not in told + said
    assert "aes-256-cbc" in archived.sh("docker exec fault-db-1 pgbackrest info")
    status = archived.works("status")
    assert "Archive: /srv/archive, any time from" in status


def test_a_time_that_cannot_be_restored(archived):
    """A time of the future, or of before the archive, is refused, and nothing touched."""
    live = archived.sh("docker inspect --format '{{.Id}}' fault-db-1")
    for when, message in (
        ("2999-01-01T00:00:00Z", "use a time of before"),
        ("2020-01-01T00:00:00Z", "and the archive begins at"),
        ("2026-01-01T00:00:00", "a time with its zone"),
    ):
        archived.fails("restore", message, **RESTORE, fastapi_restore_target_time=when)
        archived.is_clean()
    archived.fails("restore", "fastapi_pitr_enabled is false", fastapi_restore_confirm="fault",
                   fastapi_restore_target_time="2026-01-01T00:00:00Z")  # fmt: skip
    assert archived.sh("docker inspect --format '{{.Id}}' fault-db-1") == live
    assert archived.answers()


def test_a_time_between_two_rows(archived, figure):
    """Taken back to between two rows, the first is there and the second is not; then on to after the second."""
    password = archived.sh("cat /opt/fault/secrets/database_password")
    # The data of then has the password of then.
    archived.sql("ALTER ROLE fault PASSWORD 'of-then'")
    archived.sql("INSERT INTO moments VALUES ('first')")
    between = archived.now()
    archived.sql("INSERT INTO moments VALUES ('second')")
    archived.sql(f"ALTER ROLE fault PASSWORD '{password}'")
    after = archived.now()
    archived.sql("INSERT INTO moments VALUES ('third')")
    before = archived.sh("cat /opt/fault/volume || echo fault_postgres_data")
    said = archived.works("restore", **RESTORE, fastapi_restore_target_time=between)
    assert archived.rows() == "first"
    archived.wait_until_serving()
    archived.is_clean()
    assert before in archived.sh("docker volume ls --quiet")
    assert archived.health()["problems"] == []
    assert archived.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "2"
    assert archived.admin("SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'") == "0"
    assert archived.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'fault'") == "f"
    took = re.search(r"([0-9.]+) s, of which the application was away for ([0-9.]+) s", said)
    archived.sql("INSERT INTO moments VALUES ('fourth')")
    archived.works("restore", **RESTORE, fastapi_restore_target_time=after)
    assert archived.rows() == "first second"
    archived.wait_until_serving()
    assert archived.health()["problems"] == []
    figure(f"taken back in {took[1]} s, of which the application was away for {took[2]} s; and on to a later time")


def test_the_repository_is_away_and_back(archived, figure):
    """The repository cannot be reached: the database serves, a deploy and the status say so; back again, it is caught up with."""
    archived.alerts()
    archived.sh("chmod 000 /srv/archive")
    try:
        archived.segments(2)
        archived.until(lambda health: any("has taken nothing since" in problem for problem in health["problems"]))
        assert archived.answers()
        archived.sql("INSERT INTO moments VALUES ('while-away')")
        assert "is not sound" in archived.works("deploy", **PITR)
        assert "Archive: The archive has taken nothing since" in archived.works("status")
        archived.backup(check=False)
        assert "the backup of the archive failed" in archived.alerts()
        # The dump was made all the same.
        assert archived.listed()["problems"] == []
        assert archived.health()["waiting"] >= 2
    finally:
        archived.sh("chmod 750 /srv/archive; systemctl reset-failed drydock-fault-backup", check=False)
    archived.segments()
    seconds = archived.until(lambda health: health["waiting"] == 0)
    archived.backup()
    assert archived.health()["problems"] == []
    assert [backup["type"] for backup in archived.health()["backups"]].count("full") == 1
    figure(f"caught up with in {seconds:.0f} s")


def test_the_repository_is_away_for_too_long(archived):
    """More waits than there is room for: it is dropped, said, and the next backup begins anew and says what was lost."""
    archived.sh(f"sed -i 's/queue-max=.*/queue-max=20MB/' {CONFIGURATION}; chmod 000 /srv/archive")
    archived.segments(4)
    archived.until(lambda health: health["waiting"] == 0, 120)
    archived.sh("chmod 750 /srv/archive")
    assert any("were dropped" in problem for problem in archived.health()["problems"])
    assert archived.answers()
    archived.works("deploy", **PITR)
    archived.alerts()
    archived.backup(check=False)
    assert "Segments are missing in the archive after" in archived.alerts()
    archived.sh("systemctl reset-failed drydock-fault-backup")
    archived.backup()
    assert archived.health()["problems"] == []


def test_a_wrong_passphrase(archived):
    """With another passphrase nothing is written, and the next deploy puts the right one back."""
    archived.alerts()
    before = archived.health()["backups"]
    archived.sh(f"sed -i 's/cipher-pass=.*/cipher-pass=another/' {CONFIGURATION}")
    archived.sh("/opt/fault/bin/archive backup", check=False)
    assert "failed" in archived.alerts()
    archived.works("deploy", **PITR)
    archived.sh("/opt/fault/bin/archive check")
    assert archived.health()["backups"] == before
    archived.sh("/opt/fault/bin/archive backup")
    assert archived.health()["problems"] == []


def test_a_mount_that_is_missing_when_the_database_starts(archived):
    """The database starts without its repository, writes nothing in its place, and says so; once mounted, a restart mends it."""
    archived.sh("umount /srv/archive; rmdir /srv/archive; docker restart fault-db-1")
    archived.wait_until_serving()
    assert any("is it mounted?" in problem for problem in archived.health()["problems"])
    archived.fails("restore", "Nothing was restored", **RESTORE, fastapi_restore_target_time=archived.now())
    assert archived.sh("ls -A /srv/archive") == ""
    archived.sh("mount --bind /srv/disk /srv/archive; docker restart fault-db-1")
    archived.wait_until_serving()
    archived.sh("/opt/fault/bin/archive check")
    assert archived.health()["problems"] == []


def test_a_dump_is_restored_and_the_archive_goes_on(archived):
    """A restore from a dump makes another database of it, whose archive follows on that of before."""
    archived.backup()
    # Of the archive the host knows by itself.
    archived.works("restore", fastapi_restore_confirm="fault")
    health = archived.health()
    assert health["problems"] == []
    assert [backup["type"] for backup in health["backups"]] == ["full"]
    archived.is_clean()


def test_a_bare_server_and_the_archive(archived, figure):
    """All that is left are the archive and its passphrase: one command brings the service back, and none under a wrong name."""
    archived.sql("INSERT INTO moments VALUES ('last')")
    archived.segments()
    when = archived.now()
    archived.sh("/opt/fault/bin/archive check; cp /opt/fault/secrets/pgbackrest_passphrase /root/passphrase")
    archived.works("remove", fastapi_remove_data="fault")
    archived.sh(
        "rm -rf /opt/fault; install -d -m 0750 /opt/fault; install -d -m 0700 /opt/fault/secrets; "
        "install -m 0400 -o 999 /root/passphrase /opt/fault/secrets/pgbackrest_passphrase"
    )
    archived.fails("restore", "use an earlier time than that, or latest", **RESTORE, fastapi_restore_target_time=when)
    restore = {**RESTORE, "fastapi_restore_target_time": "latest"}
    segment = "'.*/[0-9A-F]{24}-[0-9a-f]{40}[.a-z0-9]*'"
    newest = f"find /srv/archive -regextype posix-extended -type f -regex {segment} -printf '%T@ %p\\n' | sort -n | tail -1"
    last = archived.sh(newest).split()[1]
    archived.sh(f"cp -p {last} /root/segment; truncate --size 100 {last}; touch -r /root/segment {last}")
    archived.fails("restore", "Nothing was restored", "and could be read up to", **restore)
    archived.sh(f"cp -p /root/segment {last}")
    archived.fails("restore", "Nothing was restored", "does not exist", **restore, fastapi_database_user="other")
    began = time.monotonic()
    archived.works("restore", **restore)
    figure(f"the whole service in {time.monotonic() - began:.0f} s, by one command")
    archived.wait_until_serving()
    assert "last" in archived.rows().split()
    assert archived.health()["problems"] == []
    archived.is_clean()
