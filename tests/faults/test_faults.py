"""What goes wrong in a deploy, provoked on a real server: the release that serves goes on serving, and the next run converges."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
APP = HERE / "app"
UPDATES = 10
SLOW = 10
TELLS_ITS_LOGIN = (
    (APP / "migrations" / "env.py")
    .read_text()
    .replace(
        "with create_engine",
        "login = make_url(url).set(drivername='postgresql+psycopg2')\n"
        "said = f'as {login.username} with the password {login.password}, at {login.render_as_string(False)}'\n"
        "raise SystemExit(said)\n"
        "with create_engine",
    )
)
ADDS_A_COLUMN = "ALTER TABLE written ADD COLUMN IF NOT EXISTS note text"


def source(folder: Path, files: dict[str, str]) -> str:
    """Copy the application of the tests, with other files; return where it is."""
    for file in APP.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = folder / file.relative_to(APP)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


def migration(body: str, number: int = 2) -> str:
    return (
        f'"""Made by a test."""\n\nfrom alembic import op\n\nrevision = "a00000000000{number}"\n'
        f'down_revision = "a00000000000{number - 1}"\n\n\ndef upgrade() -> None:\n    op.execute({body!r})\n'
    )


# --- Updates that nobody notices ---


def test_ten_updates_under_load_fail_no_request(server, load, figure):
    """Ten updates under load: no request fails, database and front door keep their containers."""
    before = server.state()["containers"]
    clients = load(connections=6, pause=0.1)
    for _ in range(UPDATES):
        server.deploy()
    told = clients.stop()
    after = server.state()["containers"]
    assert told["failures"] == 0, told
    assert told["requests"] >= 5000
    assert {name: after[name] for name in ("fault-db-1", "fault-proxy-1")} == {
        name: before[name] for name in ("fault-db-1", "fault-proxy-1")
    }
    server.is_clean()
    figure(f"{UPDATES} updates, {told['requests']} requests, none failed; p50 {told['p50_ms']} ms, p99 {told['p99_ms']} ms")


def test_slow_requests_and_a_websocket_outlive_the_flip(server, figure):
    """Slow requests and a websocket in flight over the flip: the requests are answered, and the old slot's end closes the
    websocket.
    """
    server.put(HERE / "slow_client.py")
    run = server.start(lab_edition=server.next_edition())
    run.wait_for("start | Ensure the release runs in its slot")
    server.sh(f"rm -f /root/slow.json; nohup python3 /root/slow_client.py 8000 {SLOW} 5 /root/slow.json >/dev/null 2>&1 &")
    assert run.wait() == 0, run.output[-3000:]
    server.good = f"edition {server.editions}"
    server.sh("until [ -e /root/slow.json ]; do sleep 0.2; done", timeout=60)
    told = json.loads(server.sh("cat /root/slow.json"))
    assert told["slow"] == [200] * 5, told
    assert told["socket_closed_after_s"] > told["flip_seen_after_s"], told
    assert told["socket_ended"] in ("close frame", "end of stream"), told
    server.is_clean()
    figure(f"5 requests of {SLOW} s answered over the flip; the websocket ended after {told['socket_closed_after_s']:.0f} s")


# --- The plan ---


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"marker.py": "PLAN = 1\n"}},
        {"fastapi_database_pids_limit": 500, "fastapi_request_body_limit": "9MB"},
    ],
    ids=["source", "settings of database and front door"],
)
def test_the_plan_is_what_happens(server, tmp_path, changes):
    """A run with --check, then without: the first touches nothing and says what the second does, service by service."""
    variables = {key: value for key, value in changes.items() if key != "files"}
    if "files" in changes:
        variables["fastapi_source"] = source(tmp_path, changes["files"])
    edition = server.next_edition()
    before, images, rows = server.state(), server.images(), server.rows()
    plan = server.start(options=("--check", "--diff"), lab_edition=edition, **variables)
    assert plan.wait() == 0, plan.output[-3000:]
    assert server.state() == before
    assert server.images() == images
    run = server.run(lab_edition=edition, **variables)
    assert run.process.returncode == 0, run.output[-3000:]
    assert plan.steps == run.steps
    said = dict(line.partition(": ")[::2] for line in run.steps)
    after = server.state()
    for service in ("db", "proxy"):
        recreated = before["containers"][f"fault-{service}-1"] != after["containers"][f"fault-{service}-1"]
        assert recreated == ("recreate" in said.get(service, "")), (service, said)
    assert ("fastapi_database_pids_limit" in variables) == ("recreate" in said.get("db", ""))
    assert said[f"app-{before['live']}"] == "stop and remove"
    assert said[f"app-{after['live']}"] == "create"
    assert said["front door"] == f"from {before['live']} to {after['live']}"
    [(image, fate)] = [(name, fate) for name, fate in said.items() if name.startswith("image ")]
    assert (image.removeprefix("image ") in images) == (fate == "there already")
    assert image.removeprefix("image ") in server.images()
    assert said["volume fault_postgres_data"] == "untouched"
    assert server.rows() == rows
    server.deploy()


# --- A release that cannot be made ---


@pytest.mark.parametrize(
    ("requirements", "said"),
    [
        ("fastapi\nuvicorn[standard]\ndrydock-has-no-such-package\n", "drydock-has-no-such-package was not found"),
        (f"six==1.17.0 --hash=sha256:{'0' * 64}\n", "Hash mismatch for `six==1.17.0`"),
    ],
    ids=["missing", "other hash"],
)
def test_a_dependency_that_does_not_exist(server, tmp_path, requirements, said):
    """A dependency that does not exist, or is not the one of the hash: given up with the resolver's words, nothing changed."""
    server.fails(
        "build | Ensure the build succeeded",
        said,
        "serves as before",
        fastapi_source=source(tmp_path, {"requirements.txt": requirements}),
    )


def test_a_build_that_fails(server, tmp_path):
    """A build that fails: given up with the build's words, nothing changed."""
    server.fails(
        "build | Ensure the build succeeded",
        "uvicorn[standard] is not among the dependencies",
        fastapi_source=source(tmp_path, {"requirements.txt": "fastapi\n"}),
    )


def test_a_source_that_is_gone(server, tmp_path):
    """The source is gone at the second run: refused before the host is touched."""
    server.fails("fastapi_source is", "does not exist", fastapi_source=str(tmp_path / "gone"))


def test_a_dockerfile_of_the_users_own(server, tmp_path):
    """The user's own Dockerfile takes the place of the template's: same gates, same flip."""
    python = server.sh("sed -n 's/^FROM \\(.*\\) AS uv$/\\1/p' /opt/fault/current/Dockerfile")
    file = tmp_path / "Dockerfile"
    file.write_text(
        f"FROM {python}\nWORKDIR /srv\nCOPY requirements.txt .\n"
        "RUN --mount=type=secret,id=ca-bundle PIP_CERT=/run/secrets/ca-bundle pip install -r requirements.txt\n"
        'COPY . .\nUSER 1234\nCMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000"]\n'
    )
    server.deploy(fastapi_dockerfile=str(file))
    live = server.state()["live"]
    assert (
        server.sh(f"docker inspect --format '{{{{.Config.User}}}} {{{{.Config.WorkingDir}}}}' fault-app-{live}-1") == "1234 /srv"
    )
    server.is_clean()


# --- A release that does not serve ---


@pytest.mark.parametrize(
    ("fault", "workers", "step", "said"),
    [
        ("never ready", 2, "start | Ensure the release runs", "Its health check said: HTTP/1.1 503"),
        (
            "ready for itself alone",
            2,
            "start | Ensure the release runs",
            "answers 500 instead of 200 to /readyz through the network",
        ),
        ("crash after 3 s", 1, "activate | Ensure the front door sends", "it has ended, and was started anew"),
        ("crash after 3 s", 2, "activate | Ensure the front door sends", "A worker of the container fault-app-"),
        (
            "wrong through the front door",
            2,
            "activate | Ensure the front door sends",
            "answers 500 instead of 200: the fault of the test",
        ),
    ],
)
def test_a_release_that_does_not_serve(server, load, fault, workers, step, said, figure):
    """A release that never gets healthy, is ready for itself alone, crashes after 3 s, as a whole or a worker of it, or answers
    wrongly through the front door: given up with its log, the old one serves on.
    """
    clients = load(connections=2, pause=0.05)
    server.fails(f"was given up at: {step}", said, "serves as before", lab_fault=fault, fastapi_workers=workers)
    told = clients.stop()
    figure(f"{told['failures']} of {told['requests']} requests failed")
    if step.startswith("start"):
        assert told["failures"] == 0, told


# --- Migrations ---


def test_a_migration_that_fails(server, tmp_path):
    """A migration that fails: given up with its output, the database as it was."""
    server.fails(
        "migrate | Ensure the database's schema",
        'relation "nothing" does not exist',
        "the database's revision is as it was",
        fastapi_source=source(tmp_path, {"migrations/versions/0002.py": migration("ALTER TABLE nothing ADD COLUMN a int")}),
    )


def test_a_migration_that_takes_too_long(server, tmp_path):
    """A migration that takes too long: ended and rolled back, nothing left running."""
    server.fails(
        "migrate | Ensure the database's schema",
        "took more than 4 s",
        fastapi_source=source(tmp_path, {"migrations/versions/0002.py": migration("SELECT pg_sleep(60)")}),
        fastapi_migrate_timeout=4,
    )
    assert server.sh("docker ps --quiet --filter label=com.docker.compose.oneoff=True") == ""


def test_a_migration_is_ahead_of_a_release_that_is_given_up(server, tmp_path):
    """A migration succeeds, and the release is given up: the message says that the database is ahead, the old release serves
    on it.
    """
    server.fails(
        "was given up at: start | Ensure the release runs",
        "The database is ahead of what serves: at a000000000002, and a000000000001 was recorded",
        fastapi_source=source(tmp_path, {"migrations/versions/0002.py": migration(ADDS_A_COLUMN)}),
        lab_fault="never ready",
    )
    # Of the database as it was before that migration.
    dumped = server.sh("cd /opt/fault/backups && ls -t *-before-*.dump | head -1").removesuffix(".dump")
    assert json.loads(server.sh(f"cat /opt/fault/backups/{dumped}.json"))["revision"] == "a000000000001"
    # The way on from there: a release that knows the migration.
    server.deploy(fastapi_source=source(tmp_path, {"migrations/versions/0002.py": migration(ADDS_A_COLUMN)}))
    assert json.loads(server.sh("cat /opt/fault/current/release.json"))["database_revision"] == "a000000000002"
    server.migrates_down("ALTER TABLE written DROP COLUMN IF EXISTS note")


# --- Interrupted ---


@pytest.mark.parametrize("kills", [8, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_any_moment_the_next_run_converges(server, load, figure, kills):
    """Killed at so many moments, clients asking, twice on end: the next run converges, no request fails, nothing is left over."""
    # The first one may have an image to build.
    server.deploy()
    clients = load(connections=3, pause=0.1)
    # Under the load of the kills, which come in parts of it.
    began = time.monotonic()
    server.run(lab_edition=server.next_edition())
    update = time.monotonic() - began
    chosen = random.Random(20)  # noqa: S311 (the same parts of an update in each run)
    moments = sorted(update * chosen.uniform(0.05, 1) for _ in range(kills))
    killed = taken_over = 0
    for pair in zip(moments[: kills // 2], moments[kills // 2 :], strict=True):
        for moment in pair:
            run = server.start(lab_edition=server.next_edition())
            time.sleep(moment)
            if run.process.poll() is None:
                run.kill()
                killed += 1
        after = server.run(lab_edition=(edition := server.next_edition()))
        assert after.process.returncode == 0, f"after {pair} s: {after.output[-3000:]}"
        taken_over += "is dead, was taken over" in after.output
        server.is_clean()
        server.good = edition
        assert server.edition() == server.good
    told = clients.stop()
    assert told["failures"] == 0, told
    assert killed >= kills * 3 // 4
    assert taken_over >= kills // 6
    figure(f"{killed} kills, {taken_over} locks taken over in the end, {told['requests']} requests, none failed")


def test_an_interrupt_from_the_keyboard(server):
    """An interrupt from the keyboard: the live slot serves on, the next run converges."""
    before = server.state()
    run = server.start(lab_edition=server.next_edition(), lab_fault="never ready")
    run.wait_for("start | Ensure the release runs in its slot")
    # Ansible may lose one that comes while it forks, and a person presses the keys again.
    while run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGINT)
        time.sleep(1)
    assert run.process.returncode != 0
    assert server.state()["live"] == before["live"]
    server.converges()


# --- The lock ---


def test_two_deploys_at_once_are_one_after_the_other(server):
    """Two deploys at once: the second waits for the first."""
    first = server.start(lab_edition=(one := server.next_edition()))
    first.wait_for("lock | Ensure nobody else changes the stack")
    first.wait_for("release | Ensure the release is on the host")
    second = server.start(lab_edition=(two := server.next_edition()))
    second.wait_for("is being changed by")
    assert first.wait() == 0, first.output[-3000:]
    assert one != two
    assert second.wait() == 0, second.output[-3000:]
    server.good = two
    assert server.edition() == two
    server.is_clean()


def test_a_lock_whose_holder_lives_is_waited_for_and_its_holder_named(server):
    """A lock whose holder lives: waited for, then refused, with its name."""
    held = json.dumps({"token": "t", "owner": "ann@laptop", "pid": 4711, "release": "abcabcabcabc", "controller": "another"})
    now = time.time()
    lock = json.dumps({**json.loads(held), "since": now, "expires": now + 600})
    server.sh(f"cat > /opt/fault/lock <<'EOF'\n{lock}\nEOF")
    server.fails("is being changed by ann@laptop, process 4711", "fastapi_lock_wait, 3 s, is over", fastapi_lock_wait=3)
    server.sh("rm /opt/fault/lock")


def test_a_lock_whose_lease_is_over_is_taken_over(server):
    """A lock whose lease is over: taken over, and said so."""
    held = {"token": "t", "owner": "ann@laptop", "pid": 4711, "release": "abcabcabcabc", "controller": "another"}
    server.sh(f"cat > /opt/fault/lock <<'EOF'\n{json.dumps({**held, 'since': 0, 'expires': time.time() - 1})}\nEOF")
    run = server.deploy()
    assert "The lock of ann@laptop, whose run with the release abcabcabcabc is dead, was taken over." in run.output
    server.is_clean()


# --- The server ---


def test_a_reboot_during_an_update(server):
    """The server is rebooted during an update: it serves again by itself, the next run converges."""
    run = server.start(lab_edition=server.next_edition())
    run.wait_for("start | Ensure the release runs in its slot")
    subprocess.run(["docker", "restart", server.name], check=True, capture_output=True, timeout=120)
    run.wait()
    server.wait_until_serving()
    server.converges()


def test_the_engine_is_restarted(server):
    """The engine is restarted: serving, nothing lost."""
    server.sh("systemctl restart docker")
    server.wait_until_serving()
    server.is_clean()


@pytest.mark.parametrize("service", ["app", "db", "proxy"])
def test_a_process_is_killed(server, service):
    """The process of application, database or front door is killed: serving again by itself, nothing lost."""
    live = server.state()["live"]
    before = server.rows()
    container = f"fault-{service}-1" if service != "app" else f"fault-app-{live}-1"
    server.sh(f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {container})")
    server.wait_until_serving()
    assert server.rows() == before
    server.is_clean()
    server.converges()


def test_the_network_of_the_application_is_disconnected(server):
    """The application's network is disconnected: the next run mends it."""
    live = server.state()["live"]
    server.sh(f"docker network disconnect fault_front fault-app-{live}-1")
    server.converges()


def test_a_container_that_was_remade_by_hand(server, load):
    """The application's container made anew with other settings by hand: the next run puts it right, and fails no request."""
    live = server.state()["live"]
    server.sh("sed -i 's/pids_limit: [0-9]*/pids_limit: 77/' /opt/fault/current/compose.yaml")
    server.sh(f"cd /opt/fault/current && docker compose --progress quiet up --detach --no-deps --wait app-{live}")
    limit = "docker inspect --format '{{.HostConfig.PidsLimit}}' fault-app-%s-1"
    assert server.sh(limit % live) == "77"
    clients = load()
    server.converges()
    told = clients.stop()
    assert told["failures"] == 0, told
    assert server.sh(limit % server.state()["live"]) != "77"
    again = server.run(lab_edition=server.good)
    assert "changed=0" in again.output


def test_the_port_is_taken_meanwhile(server):
    """The port is taken by somebody else: refused by name."""
    server.sh("docker stop fault-proxy-1")
    server.sh("systemd-run --quiet --unit squatter python3 -m http.server --bind 127.0.0.1 8000")
    try:
        run = server.run(lab_edition=server.next_edition())
        assert run.process.returncode != 0
        assert "8000 is taken by python3 (pid " in run.output
    finally:
        server.sh("systemctl stop squatter")
    server.converges()


def test_the_disk_is_full_while_the_release_is_brought(server, tmp_path):
    """The disk is full while the release is brought: given up, nothing changed."""
    releases = "/opt/fault/releases"
    server.sh(f"mount --bind {releases} /mnt && mount -t tmpfs -o size=400k none {releases} && cp -a /mnt/. {releases}/")
    try:
        files = {"large.py": "# " + "x" * 400_000}
        server.fails("release | Ensure the release is on the host", "No space left", fastapi_source=source(tmp_path, files))
    finally:
        server.sh(f"umount {releases} && umount /mnt")
    server.converges()


def test_the_disk_is_full_while_the_image_is_built(server, tmp_path):
    """The disk is full while the image is built: given up, nothing changed."""
    free = int(server.sh("df --output=avail --block-size=1 /var/lib/docker | tail -1"))
    server.sh(f"fallocate --length {free - 10_000_000} /var/lib/docker/filler")
    try:
        files = {"requirements.txt": (APP / "requirements.txt").read_text() + "numpy\n"}
        server.fails(
            "build | Ensure the build succeeded",
            "space left on device",
            fastapi_source=source(tmp_path, files),
            fastapi_disk_required=0,
        )
    finally:
        server.sh("rm /var/lib/docker/filler")
    server.converges()


# --- A database that is not the stack's own ---


@pytest.fixture
def elsewhere(server):
    """A PostgreSQL that no stack knows of, on an address of the server's that containers reach; taken away with its stack."""
    image = server.sh("docker inspect --format '{{.Config.Image}}' fault-db-1")
    server.sh(
        "docker run --detach --name elsewhere --publish 172.17.0.1:5433:5432 --env POSTGRES_DB=outside "
        f"--env POSTGRES_USER=outside --env POSTGRES_PASSWORD=one --tmpfs /var/lib/postgresql/data:uid=999,gid=999 {image}"
    )
    server.sh("until docker exec elsewhere pg_isready --quiet --host=127.0.0.1; do sleep 0.2; done")
    yield {
        "fastapi_name": "outside",
        "fastapi_port": 8001,
        "fastapi_database_host": "172.17.0.1",
        "fastapi_database_port": 5433,
        "fastapi_database_sslmode": "prefer",
    }
    server.run("remove", fastapi_name="outside", fastapi_remove_data="outside")
    server.sh("docker rm --force --volumes elsewhere; rm -rf /opt/outside")


def test_a_database_elsewhere(server, elsewhere):
    """The database is elsewhere: same checks and migrations; its password is changed there: taken over, or refused."""

    def answer():
        return server.sh(
            "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:8001/readyz\").read().decode())'"
        )

    def deploy(password, **more):
        return server.run(**elsewhere, fastapi_database_password=password, **more)

    run = deploy("wrong")
    assert run.process.returncode != 0
    assert "does not take the role outside" in run.output
    assert "password authentication failed" in run.output
    assert "Nothing serves yet" in run.output
    run = deploy("one")
    assert run.process.returncode == 0, run.output[-3000:]
    assert answer() == "ready"
    assert server.sh("docker volume ls --quiet --filter name=outside_postgres") == ""
    assert server.sh("docker ps --all --format '{{.Names}}' --filter name=outside-db") == ""
    run = server.run("psql", fastapi_name="outside", fastapi_psql_query="SELECT 'at ' || version_num FROM alembic_version")
    assert "at a000000000001" in run.output
    assert "changed=0" in deploy("one").output
    server.sh("docker exec elsewhere psql -qU outside -c \"ALTER ROLE outside PASSWORD 'two'\"")
    run = deploy("three")
    assert run.process.returncode != 0
    assert answer() == "ready"
    run = deploy("two")
    assert run.process.returncode == 0, run.output[-3000:]
    assert answer() == "ready"
    assert "changed=0" in deploy("two").output
    # Its own database would be a new one, and empty.
    run = server.run(**{**elsewhere, "fastapi_database_host": ""})
    assert run.process.returncode != 0
    assert "uses the database on 172.17.0.1" in run.output


def test_a_role_of_its_own_migrates(server, elsewhere, tmp_path):
    """A database elsewhere that a role of its own migrates: the application's may change no table, the login stays nowhere."""
    secret = "keep's\\%20\"two@/$"

    def deploy(password, **more):
        run = server.run(
            **elsewhere,
            fastapi_database_user="plain",
            fastapi_database_password="one",
            fastapi_database_migrator_user="keeper",
            fastapi_database_migrator_password=password,
            **more,
        )
        assert password not in run.output
        return run

    def ask(role, sql):
        inner = ["docker", "exec", "--interactive", "elsewhere", "psql", "-XAtq", "--dbname=outside", f"--username={role}"]
        command = ["docker", "exec", "--interactive", server.name, *inner]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    said = ask(
        "outside",
        f"""CREATE ROLE plain LOGIN PASSWORD 'one'; CREATE ROLE keeper LOGIN PASSWORD '{secret.replace("'", "''")}';
        ALTER DEFAULT PRIVILEGES FOR ROLE keeper GRANT SELECT, INSERT ON TABLES TO plain;
        ALTER DEFAULT PRIVILEGES FOR ROLE keeper GRANT SELECT, USAGE ON SEQUENCES TO plain;""",
    )
    assert said == ""
    for password, why in (("wrong-of-keeper", "password authentication failed"), (secret, "lets it make no tables")):
        run = deploy(password)
        assert run.process.returncode != 0
        assert "fastapi_database_migrator_user is keeper, and the database on 172.17.0.1" in run.output
        assert why in run.output
        assert "Nothing serves yet" in run.output
    ask("outside", "GRANT CREATE ON SCHEMA public TO keeper")
    # Once as files, and once in the environment.
    run = deploy(secret, fastapi_secrets_as_files=True)
    assert run.process.returncode == 0, run.output[-3000:]
    assert ask("plain", "SELECT tableowner FROM pg_tables WHERE tablename = 'written'") == "keeper"
    assert "must be owner" in ask("plain", "DROP TABLE written")
    files = {"migrations/versions/0002.py": migration(ADDS_A_COLUMN)}
    run = deploy(secret, fastapi_source=source(tmp_path, files))
    assert run.process.returncode == 0, run.output[-3000:]
    assert ask("plain", "SELECT version_num FROM alembic_version") == "a000000000002"
    files = {"migrations/versions/0003.py": migration(ADDS_A_COLUMN, 3), "migrations/env.py": TELLS_ITS_LOGIN}
    run = deploy(secret, fastapi_source=source(tmp_path, files))
    assert run.process.returncode != 0
    assert "as keeper with the password ***, at postgresql+psycopg2://keeper:***@" in run.output
    # Nothing is migrated by a rollback, which is not told of the role.
    run = server.run("rollback", fastapi_name="outside", fastapi_rollback_ignore_migrations=True)
    assert run.process.returncode == 0, run.output[-3000:]
    server.sh("journalctl --no-pager --all --output=export > /root/journal")
    assert server.sh("grep --text --count 'Invoked with.* migrator_user=keeper' /root/journal") != "0"
    search = ["docker", "exec", server.name, "grep", "--recursive", "--files-with-matches", "--fixed-strings", "--devices=skip"]
    for form in (secret, repr(secret)[1:-1]):
        found = subprocess.run([*search, form, "/opt/outside", "/run", "/root"], capture_output=True, text=True, check=False)
        assert found.stdout == ""
    assert server.sh("ls /run | grep drydock", check=False) == ""


# --- A way back ---


def test_a_rollback_under_load(server, load, figure):
    """A rollback under load: no request fails."""
    server.deploy()
    earlier = server.good
    server.deploy()
    clients = load(connections=4, pause=0.02)
    run = server.run("rollback")
    assert run.process.returncode == 0, run.output[-3000:]
    told = clients.stop()
    assert told["failures"] == 0, told
    assert server.edition() == earlier
    server.good = earlier
    server.is_clean()
    figure(f"{told['requests']} requests, none failed")


def test_a_rollback_over_a_migration_is_refused(server, tmp_path):
    """A rollback over a migration: refused with both revisions, done when told to."""
    before = json.loads(server.sh("cat /opt/fault/current/release.json"))["id"]
    files = {f"migrations/versions/000{number}.py": migration("SELECT 1", number) for number in (2, 3)}
    server.deploy(fastapi_source=source(tmp_path, files))
    state = server.state()
    run = server.run("rollback", fastapi_release=before)
    assert run.process.returncode != 0
    assert f"The database is at revision a000000000003, which the release {before} does not know" in run.output
    server.is_as_before(state)
    run = server.run("rollback", fastapi_release=before, fastapi_rollback_ignore_migrations=True)
    assert run.process.returncode == 0, run.output[-3000:]
    assert json.loads(server.sh("cat /opt/fault/current/release.json"))["id"] == before
    server.migrates_down()


def test_a_rollback_to_a_release_whose_image_is_gone(server, tmp_path):
    """A rollback to a release whose image is gone: built again from its own folder."""
    server.deploy(fastapi_source=source(tmp_path / "one", {"marker.py": "ONE = 1\n"}))
    earlier, image = server.good, json.loads(server.sh("cat /opt/fault/current/release.json"))["image"]
    server.deploy(fastapi_source=source(tmp_path / "two", {"marker.py": "TWO = 2\n"}))
    server.sh(f"docker image rm {image}")
    run = server.run("rollback")
    assert run.process.returncode == 0, run.output[-3000:]
    assert server.edition() == earlier
    server.good = earlier


def test_a_clock_that_is_an_hour_late(server):
    """The clock of the host falls back by an hour: deploys, locks and the order of the releases do not mind."""
    server.sh("apt-get update --quiet=2 && apt-get install --yes --quiet=2 --no-install-recommends faketime >/dev/null")
    server.sh("printf '#!/bin/sh\\nexec faketime -f -1h /usr/bin/python3 \"$@\"\\n' > /root/late && chmod +x /root/late")
    server.deploy()
    earlier = server.good
    server.deploy(ansible_python_interpreter="/root/late")
    deployed = json.loads(server.sh("cat /opt/fault/current/release.json"))["deployed"]
    assert deployed < server.sh("date --utc --date='30 minutes ago' +%Y-%m-%dT%H:%M:%S")
    run = server.run("rollback")
    assert run.process.returncode == 0, run.output[-3000:]
    assert server.edition() == earlier
    server.good = earlier
    server.is_clean()


def test_of_many_releases_three_are_kept(server):
    """Many releases: three are kept, with their images, and nothing else."""
    for _ in range(4):
        server.deploy()
    releases = server.state()["releases"]
    assert len(releases) == 3
    images = server.images()
    used = {json.loads(server.sh(f"cat /opt/fault/releases/{name}/release.json"))["image"] for name in releases}
    assert set(images) == used
    server.is_clean()
