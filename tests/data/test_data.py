"""What goes wrong with data, provoked on a real server: no bad backup is published, no good one is lost, and no data."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SERVER = "drydock-lab-data"
INTERRUPTIONS = 10
KILLS = 10
LIVE = "cat /opt/fault/volume 2> /dev/null || echo fault_postgres_data"
BIG = "CREATE TABLE IF NOT EXISTS big AS SELECT i, md5(i::text) || md5((i * 7)::text) AS t FROM generate_series(1, 600000) i"


class Writer:
    """Clients on the server that write, and know which writes were acknowledged."""

    def __init__(self, server, name: str, connections: int = 3) -> None:
        self.server, self.name = server, name
        subprocess.run(["docker", "cp", str(HERE / "writer.py"), f"{SERVER}:/root/writer.py"], check=True, capture_output=True)
        command = f"python3 /root/writer.py 8000 {connections} /root/{name} /root/{name}.json"
        subprocess.run(["docker", "exec", "--detach", SERVER, "bash", "-c", command], check=True)

    def stop(self) -> dict[str, list[str]]:
        self.server.sh(f"touch /root/{self.name}; until [ -e /root/{self.name}.json ]; do sleep 0.2; done", timeout=90)
        return json.loads(self.server.sh(f"cat /root/{self.name}.json"))


# --- Backups ---


def test_the_timer_makes_a_backup_and_a_drill_proves_it(server, figure):
    """The timer's unit makes a backup, a drill proves it, and status says both."""
    timer = "drydock-fault-backup.timer"
    assert server.sh(f"systemctl is-enabled {timer}; systemctl is-active {timer}").split() == ["enabled", "active"]
    server.sql(BIG)
    name = server.backup()
    manifest = server.manifest(name)
    assert manifest["rows"]["public.big"] == 600000
    assert manifest["revision"] == "a000000000001"
    assert server.sh(f"stat -c %a /opt/fault/backups /opt/fault/backups/{name[:16]}.* /opt/fault/bin/data | xargs") == (
        "700 600 600 600 755"
    )
    said = server.works("drill")
    assert "no damage" in said
    newest = server.listed()["backups"][0]
    assert (newest["name"], newest["checksum"], bool(newest["proven"])) == (name, "sound", True)
    server.is_clean()
    proof = server.listed()["proof"]
    figure(f"{manifest['size'] / 10**6:.0f} MB dumped in {manifest['seconds']} s, proven in {proof['seconds']} s")


def test_killed_in_the_middle_of_a_dump(server):
    """Killed by -9 in the middle of a dump: nothing published, the old ones kept, said, and the next one tidies up."""
    before, sums = server.dumps(), server.sh("sha256sum /opt/fault/backups/*.dump")
    server.alerts()
    server.sh("systemctl start --no-block drydock-fault-backup.service")
    server.sh("until [ -s /opt/fault/backups/.*.dump.partial ]; do sleep 0.02; done; systemctl kill -s KILL drydock-fault-backup")
    server.sh("until systemctl is-failed -q drydock-fault-backup; do sleep 0.1; done")
    assert server.dumps() == before
    assert server.sh("sha256sum /opt/fault/backups/*.dump") == sums
    assert "ended by force (signal)" in server.alerts()
    name = server.backup()
    assert name not in before
    assert server.admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drydock-backup'") == "0"
    server.is_clean()


def test_the_disk_of_the_backups_is_full(server):
    """The disk of the backups is full: the unit fails, the operator is told, the old ones are kept."""
    server.alerts()
    newest = max(server.dumps())
    server.sh(
        "mkdir -p /root/small && mount -t tmpfs -o size=6m tmpfs /root/small && chmod 700 /root/small && "
        f"head -c 100000 /opt/fault/backups/{newest} > /root/small/20200101T000000Z.dump && "
        "mount --bind /root/small /opt/fault/backups"
    )
    try:
        assert server.backup(check=False) == "20200101T000000Z.dump"
        assert server.sh("systemctl is-failed drydock-fault-backup", check=False) == "failed"
        assert "No space left on device" in server.alerts()
        assert "No space left on device" in server.listed()["problems"][0]
        server.is_clean()
    finally:
        server.sh("umount /opt/fault/backups /root/small; systemctl reset-failed drydock-fault-backup")
    assert max(server.dumps()) == newest
    server.backup()


@pytest.mark.parametrize("harm", ["truncate -s -1 {}", "printf X | dd of={} bs=1 seek=2000 conv=notrunc status=none"])
def test_a_dump_that_was_changed(server, harm):
    """A dump truncated, or with one byte changed: told, neither restored nor proven, and the next backup fails loudly."""
    server.alerts()
    name = server.backup()
    server.sh(harm.format(f"/opt/fault/backups/{name}"))
    assert server.listed()["backups"][0]["checksum"] == "changed"
    server.fails("restore", "Nothing was restored", "its checksum differs", fastapi_restore_confirm="fault")
    server.fails("drill", "its checksum differs")
    newer = server.backup(check=False)
    assert newer != name
    assert server.listed()["backups"][0]["checksum"] == "sound"
    assert f"{name} is not what was written" in server.alerts()
    server.sh(f"rm /opt/fault/backups/{name[:16]}.*; systemctl reset-failed drydock-fault-backup")
    server.backup()
    server.works("drill")
    assert server.listed()["problems"] == []


def test_two_at_once(server):
    """Two backups at once: one waits for the other."""
    before = server.dumps()
    server.sh("/opt/fault/bin/data backup & first=$!; /opt/fault/bin/data backup && wait $first")
    new = set(server.dumps()) - set(before)
    assert len(new) == 2
    assert [dump["checksum"] for dump in server.listed()["backups"] if dump["name"] in new] == ["sound", "sound"]
    server.is_clean()


def test_a_drill_whose_query_says_no(server):
    """The query of the drill says that the data is not what it should be: nothing is proven, and the operator is told."""
    server.backup()
    server.alerts()
    settings = server.sh("cat /opt/fault/backup.json")
    changed = json.dumps({**json.loads(settings), "drill_query": "SELECT false"})
    server.sh(f"cat > /opt/fault/backup.json <<'EOF'\n{changed}\nEOF")
    assert "fastapi_drill_query gave f" in server.sh("! /opt/fault/bin/data drill 2>&1")
    assert "fastapi_drill_query gave f" in server.alerts()
    assert server.listed()["proof"]["ok"] is False
    server.is_clean()
    server.sh(f"cat > /opt/fault/backup.json <<'EOF'\n{settings}\nEOF")
    server.works("drill")


def test_a_backup_during_a_deploy_and_writes(server, figure):
    """A backup during a deploy, while others write: both work, and what is dumped is of one moment."""
    server.sql("CREATE TABLE IF NOT EXISTS debit (n int); CREATE TABLE IF NOT EXISTS credit (n int)")
    transaction = "BEGIN; INSERT INTO debit VALUES (1); INSERT INTO credit VALUES (1); COMMIT;"
    server.sh(
        f"rm -f /root/stop; (until [ -e /root/stop ]; do echo '{transaction}'; done "
        "| docker exec -i fault-db-1 psql -qU fault -d fault) > /dev/null 2>&1 & disown"
    )
    deploy = server.start("deploy", lab_edition=f"during {time.time():.0f}")
    seen = []
    while deploy.poll() is None and len(seen) < 5:
        rows = server.manifest(server.backup())["rows"]
        seen.append((rows["public.debit"], rows["public.credit"]))
    code, said = server.ended(deploy)
    server.sh("touch /root/stop")
    assert code == 0, said[-3000:]
    assert all(debit == credit > 0 for debit, credit in seen), seen
    assert len(set(seen)) > 1
    server.works("drill")
    server.sql("DROP TABLE debit; DROP TABLE credit")
    figure(f"{len(seen)} backups during a deploy, debit and credit equal in each: {seen}")


def test_copies_while_their_place_is_away(server, tmp_path):
    """The place of the copies away, and back again: said, the backup kept, the copies caught up with; a wrong key reads none."""
    for key in ("own", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)], check=True)
    copies = {
        "fastapi_backup_copy_to": "/srv/copies",
        "fastapi_backup_encrypt_to": " ".join((tmp_path / "own.pub").read_text().split()[:2]),
        "fastapi_backup_keep": {"last": 4},
    }
    server.sh("rm -rf /srv/copies; mkdir /srv/copies")
    server.works("deploy", **copies)
    server.backup()
    assert server.listed()["backups"][0]["copied"]
    server.alerts()
    server.sh("mv /srv/copies /srv/away")
    missed = server.backup(check=False)
    assert "there is no such folder on the host" in server.alerts()
    # As a folder does whose mount is gone.
    server.sh("mkdir /srv/copies")
    server.backup(check=False)
    assert "is it mounted?" in server.alerts()
    assert server.sh("ls /srv/copies") == ""
    server.sh("rmdir /srv/copies; mv /srv/away /srv/copies; systemctl reset-failed drydock-fault-backup")
    server.backup()
    there = server.sh("ls /srv/copies").split()
    assert f"{missed}.age" in there
    # What need not stay has gone, here and there.
    kept = sorted(dump for dump in server.dumps() if "-before-" not in dump)
    assert len(kept) == 4
    assert sorted(name for name in there if ".dump" in name) == [f"{dump}.age" for dump in kept]
    assert len(there) == 3 * 4 + 1
    assert server.sh("stat -c %a /srv/copies/* | sort -u") == "600"
    # Where the copies are the host knows, and goes on knowing.
    restore = {"fastapi_restore_confirm": "fault", "fastapi_restore_from": f"copy:{missed}"}
    server.fails("restore", "cannot be decrypted", fastapi_restore_identity=str(tmp_path / "other"), **restore)
    server.sql("CREATE TABLE IF NOT EXISTS newer (n int)")
    before = server.sh(LIVE)
    server.works("restore", fastapi_restore_identity=str(tmp_path / "own"), **restore)
    assert server.sql("SELECT to_regclass('newer') IS NULL") == "t"
    assert json.loads(server.sh("cat /opt/fault/backup.json"))["copy_to"] == "/srv/copies"
    # The restore was the mistake.
    mistaken = server.sh(LIVE)
    server.sh(f"echo {before} > /opt/fault/volume")
    server.works("deploy")
    server.sh(f"docker volume rm {mistaken}")
    assert server.sql("SELECT to_regclass('newer') IS NOT NULL") == "t"
    server.is_clean()


def test_images_by_their_digests(server):
    """What `digests` shows is taken by a deploy as it stands, and is the same image."""
    said = server.works("digests")
    found = dict(re.findall(r"(fastapi_\w+_image): (\S+:[\w.-]+@sha256:[0-9a-f]{64})", said))
    assert len(found) == 3, said[-3000:]
    server.works("deploy", **found)
    assert server.sh("docker inspect --format '{{.Config.Image}}' fault-db-1") == found["fastapi_postgres_image"]
    server.works("deploy")


# --- Restore ---


def test_a_restore_that_is_refused(server):
    """The wrong stack named, too little space, or a revision that no release knows: refused, and nothing touched."""
    name = server.backup()
    live = server.sh("docker inspect --format '{{.Id}}' fault-db-1")
    server.fails("restore", "fastapi_restore_confirm is other and the stack is fault", fastapi_restore_confirm="other")
    server.fails("restore", "fastapi_restore_confirm is not set")
    file, manifest = f"/opt/fault/backups/{name[:16]}.json", server.manifest(name)
    for change, said in (
        ({"size": 10**15}, "GB are needed to restore"),
        ({"revision": "ffffffffffff"}, "is at revision ffffffffffff, which the release"),
        ({"database": "shop"}, "fastapi_database_name is fault"),
        ({"rows": {**manifest["rows"], "public.big": 1}}, "differs from what was dumped: public.big had 1 rows, and has 600000"),
    ):
        server.sh(f"cat > {file} <<'EOF'\n{json.dumps({**manifest, **change})}\nEOF")
        server.fails("restore", "Nothing was restored", said, fastapi_restore_confirm="fault")
        server.is_clean()
    server.sh(f"cat > {file} <<'EOF'\n{json.dumps(manifest)}\nEOF")
    assert server.sh("docker inspect --format '{{.Id}}' fault-db-1") == live


@pytest.mark.long
def test_a_restore_that_is_interrupted(server, figure):
    """A restore interrupted at random moments: either the old data is live or the new, and the next deploy serves it."""
    server.sql("DROP TABLE IF EXISTS mark; CREATE TABLE mark AS SELECT 'restored' AS state")
    name = server.backup()

    def begun():
        process = server.start("restore", fastapi_restore_confirm="fault", fastapi_restore_from=name)
        server.sh("until [ -e /opt/fault/restoring ]; do sleep 0.1; done", timeout=120)
        return process, time.monotonic()

    process, began = begun()
    assert server.ended(process)[0] == 0
    whole, ends = time.monotonic() - began, []
    while len(ends) < INTERRUPTIONS:
        server.sql("UPDATE mark SET state = 'live'")
        before = server.sh(LIVE)
        process, _ = begun()
        time.sleep(random.uniform(0, whole))  # noqa: S311
        if process.poll() is not None:
            continue
        server.cut_off(process)
        expected = "live" if server.sh(LIVE) == before else "restored"
        by_itself = server.answers()
        server.works("deploy")
        server.wait_until_serving()
        data = server.sql("SELECT state FROM mark")
        assert data == expected
        assert server.sql("SELECT count(*) FROM big") == "600000"
        ends.append(f"{data}{'' if by_itself else ' after a deploy'}")
    server.works("restore", fastapi_restore_confirm="fault", fastapi_restore_from=name)
    assert server.sql("SELECT state FROM mark") == "restored"
    server.is_clean()
    figure(f"{INTERRUPTIONS} interruptions: {', '.join(ends)}")
    others = server.sh(f"docker volume ls --quiet | grep postgres_data | grep -vx $({LIVE})").split()
    server.sh(f"docker volume rm {' '.join(others)}")
    server.works("deploy")


def test_the_live_volume_is_gone(server):
    """The volume with the live data is gone: no deploy makes an empty one, and a restore brings the data back."""
    server.backup()
    live = server.sh(LIVE)
    server.sh(f"docker rm --force fault-db-1 && docker volume rm {live}")
    for playbook in ("deploy", "rollback"):
        server.fails(playbook, f"was in the volume {live}, which is gone, and a deploy would make an empty database")
        assert server.sh(f"docker volume ls --quiet --filter name={live}") == ""
    server.works("restore", fastapi_restore_confirm="fault")
    server.wait_until_serving()
    assert server.sql("SELECT count(*) FROM big") == "600000"
    assert server.sh("cat /opt/fault/volume") != live
    server.is_clean()
    assert "changed=0" in server.works("deploy")


@pytest.fixture
def offsite(server, tmp_path):
    """The settings of copies that another user keeps, to whom sftp leads and nothing else, encrypted."""
    for key in ("key", "identity"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)], check=True)
    public, private = ((tmp_path / name).read_text() for name in ("key.pub", "key"))
    server.sh(
        "useradd --create-home keeper && install -d -o keeper -m 700 ~keeper/.ssh ~keeper/shop"
        f" && echo 'restrict,command=\"internal-sftp\" {public.strip()}' > ~keeper/.ssh/authorized_keys"
    )
    one_line = private.replace("\n", "\\n")
    # In the lab's network: its own are the same on the new server.
    where = ["docker", "inspect", "--format", "{{ range .NetworkSettings.Networks }}{{ .IPAddress }}{{ end }}", SERVER]
    address = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    yield {
        "fastapi_backup_copy_to": "offsite:shop",
        "fastapi_backup_rclone_config": f"[offsite]\ntype = sftp\nhost = {address}\nuser = keeper\nkey_pem = {one_line}\n",
        "fastapi_backup_encrypt_to": " ".join((tmp_path / "identity.pub").read_text().split()[:2]),
    }
    server.works("deploy")
    server.sh("userdel --remove keeper")


def test_a_new_server_and_a_copy(server, offsite, tmp_path, figure):
    """All that is left is an encrypted copy of a dump behind sftp: one command makes a bare server the same service."""
    server.works("deploy", **offsite)
    name = server.backup()
    assert f"{name}.age" in server.sh("ls ~keeper/shop").split()
    new = type(server)(server.environment, f"{SERVER}-new")
    assert new.sh("which docker; ls /opt") == ""
    began = time.monotonic()
    variables = {"from": "copy", "identity": str(tmp_path / "identity"), "confirm": "fault"}
    new.works("restore", **{f"fastapi_restore_{name}": value for name, value in variables.items()}, **offsite)
    figure(f"from a server without an engine to the whole service in {time.monotonic() - began:.0f} s, by one command")
    new.wait_until_serving()
    assert new.sql("SELECT count(*) FROM big") == "600000"
    assert new.sh("cat /opt/fault/secrets/database_password") != server.sh("cat /opt/fault/secrets/database_password")
    new.is_clean()
    assert "changed=0" in new.works("deploy", **offsite)
    # Whether the other one is no more is for an operator to say.
    new.backup(check=False)
    problem = new.listed()["problems"][0]
    assert "the copies there are those of fault@" in problem
    mark = re.search(r"remove (offsite:shop/\S+)", problem)[1]
    new.sh(f"rclone --config /opt/fault/secrets/rclone.conf deletefile {mark}")
    new.backup()
    assert new.listed()["problems"] == []


# --- The password, and the database itself ---


def test_the_password_is_rotated_under_load(server, figure):
    """The password is rotated under load: no request fails, the old one opens nothing, and everybody is asked for it."""
    old = server.sh("cat /opt/fault/secrets/database_password")
    writer = Writer(server, f"rotation{time.time():.0f}", connections=6)
    server.works("rotate_password")
    told = writer.stop()
    assert told["failures"] == [], told["failures"][:5]
    assert len(told["acknowledged"]) > 100
    new = server.sh("cat /opt/fault/secrets/database_password")
    assert new != old
    client = "docker run --rm --network fault_app-network -e PGPASSWORD={} postgres:17-trixie psql -h db -U fault -d fault"
    login = f"{client} -Atc 'SELECT 1'"
    assert server.sh(login.format(new)) == "1"
    assert server.sh(login.format(old), check=False) == ""
    assert "drydock" not in server.sh("docker exec fault-db-1 cat /var/lib/postgresql/data/pg_hba.conf")
    assert server.sh("ls /opt/fault/secrets | grep database_password") == "database_password"
    figure(f"{len(told['acknowledged'])} writes during a rotation, none failed")


def test_the_database_is_killed_under_write_load(server, figure):
    """The database killed by -9 under write load, again and again: every acknowledged write is there."""
    writer = Writer(server, f"killed{time.time():.0f}")
    for _ in range(KILLS):
        time.sleep(random.uniform(1, 3))  # noqa: S311
        server.sh("kill -9 $(docker inspect --format '{{.State.Pid}}' fault-db-1)")
        server.wait_until_serving()
    told = writer.stop()
    rows = set(server.sql("SELECT client FROM written").split())
    missing = set(told["acknowledged"]) - rows
    assert not missing
    assert len(told["acknowledged"]) > 100
    assert told["failures"]
    figure(f"killed {KILLS} times; {len(told['acknowledged'])} acknowledged writes, all there; {len(told['failures'])} failed")
