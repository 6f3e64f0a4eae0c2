"""The modules that need no engine, and the parts of the others that need none."""

import errno
import http.server
import ipaddress
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.drydock.stack.plugins.module_utils import containers, docker_cli, lock, volumes
from ansible_collections.drydock.stack.plugins.module_utils.asking import ask
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    PASSWORD_TOKEN,
    SLOT_TOKEN,
    VOLUME_TOKEN,
    fill,
    point_to,
)
from ansible_collections.drydock.stack.plugins.modules import (
    database_role,
    migrate,
    put_back,
    record,
    release,
    restore,
    rollback_plan,
    slot_drained,
    slot_live,
    slot_ready,
    stack_absent,
    stack_info,
    upgrade,
)
from ansible_collections.drydock.stack.plugins.plugin_utils import render


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(f"{self.path} for {self.headers['Host']}".encode())

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_an_address_is_asked_under_another_name(port):
    status, said, _ = ask("127.0.0.1", port, "shop.example.com", "/readyz")
    assert (status, said) == (200, "/readyz for shop.example.com")


def test_what_else_is_answered_is_told(port):
    assert ask("127.0.0.1", port)[0] == 404


def test_no_answer_says_why():
    status, said, headers = ask("127.0.0.1", 1)
    assert (status, headers) == (0, {})
    assert "refused" in said


# --- record ---


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A stack with four releases, the newest one current; `removed` says which images were asked to go."""
    removed = []

    def docker(*arguments, check=True):
        if arguments[:2] == ("image", "ls"):
            assert "label=drydock.stack=shop" in arguments
            return "shop:shared\nshop:1\nshop:2\nshop:given-up\n"
        removed.extend(arguments[2:])
        return ""

    monkeypatch.setattr(docker_cli, "docker", docker)
    for number in range(4):
        folder = tmp_path / "releases" / f"r{number}"
        folder.mkdir(parents=True)
        image = "shop:shared" if number in (0, 3) else f"shop:{number}"
        (folder / "release.json").write_text(json.dumps({"number": number + 1, "image": image}))
    (tmp_path / "releases" / "never-recorded").mkdir()
    point_to(tmp_path, "r3")
    return tmp_path, removed


def test_the_build_of_an_image_is_told_as_it_says_itself():
    labels = {"org.opencontainers.image.version": "0123456789ab", "drydock.builder": "engine 28.5, buildx 0.20", "other": "x"}
    told = record.build({"Created": "2026-01-31T02:30:00Z", "Config": {"Labels": labels}})
    assert told == {
        **{"at": "2026-01-31T02:30:00Z", "release": "0123456789ab", "builder": "engine 28.5, buildx 0.20"},
        **{"source": "", "revision": "", "python_image": ""},
    }
    # Of a Dockerfile that sets none, on a version before these.
    assert set(record.build({"Created": "", "Config": {"Labels": None}}).values()) == {""}


@pytest.mark.parametrize("kind", ["file", "link", "none"])
def test_the_list_of_what_is_in_an_image_is_kept_with_the_release(tmp_path, monkeypatch, kind):
    (tmp_path / "elsewhere").write_text("s3cret")

    def docker(*arguments, check=True):
        assert arguments[:2] == ("cp", "shop-app-blue-1:/opt/sbom/python.cdx.json") and not check
        copy = pathlib.Path(arguments[2])
        if kind == "file":
            copy.write_text("{}")
        elif kind == "link":
            copy.symlink_to(tmp_path / "elsewhere")
        return ""

    monkeypatch.setattr(docker_cli, "docker", docker)
    (tmp_path / "release").mkdir()
    record.keep_sbom("shop-app-blue-1", tmp_path / "release")
    kept = {file.name: file.read_text() for file in (tmp_path / "release").iterdir()}
    assert kept == ({"python.cdx.json": "{}"} if kind == "file" else {})


def test_current_is_pointed_to_in_one_step(root):
    folder, _ = root
    point_to(folder, "r1")
    point_to(folder, "r2")
    assert (folder / "current").resolve() == folder / "releases" / "r2"
    assert str((folder / "current").readlink()) == "releases/r2"


# --- slot_live ---


@pytest.mark.parametrize("under_init", [True, False])
def test_the_workers_of_a_container_are_those_of_its_supervisor(under_init):
    """As uvicorn starts them: by multiprocessing, below the container's first process or the one below its init."""
    server = (
        "import multiprocessing, sys, time\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    for _ in range(2): context.Process(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", server]
    init = ["sh", "-c", '"$@"; true', "sh"] if under_init else []
    with subprocess.Popen([*init, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = {"State": {"Pid": process.pid, "Status": "running"}, "Config": {"Env": ["WEB_CONCURRENCY=2"]}}
        workers = containers.workers(found)
        assert len(workers) == 2
        # What a single worker starts is the application's own, and what is to end now and then may.
        for given in ([], ["WEB_CONCURRENCY=1"], ["WEB_CONCURRENCY=2", "UVICORN_LIMIT_MAX_REQUESTS=100"]):
            assert containers.workers({**found, "Config": {"Env": given}}) == set()
        os.kill(min(workers), signal.SIGKILL)
        while len(containers.workers(found)) == 2:
            time.sleep(0.01)
        assert containers.workers(found) == {max(workers)}
        process.stdin.close()
    assert containers.workers(found) == set()


def test_a_worker_that_ends_is_noticed(monkeypatch):
    seen = iter([{11, 12}, {11, 12}, {11, 13}])
    monkeypatch.setattr(slot_live.containers, "look", lambda name: {"State": {"Status": "running"}, "RestartCount": 0})
    monkeypatch.setattr(slot_live.containers, "workers", lambda found: next(seen))
    monkeypatch.setattr(slot_live, "PAUSE", 0)
    assert slot_live.settled("shop-app-blue-1", 60, 0, [11, 12]) == (
        "A worker of the container shop-app-blue-1 has ended, and was started anew."
    )
    monkeypatch.setattr(slot_live.containers, "workers", lambda found: {11, 12})
    assert slot_live.settled("shop-app-blue-1", 0, 0, [11, 12]) == ""


# --- restore ---


@pytest.mark.parametrize(
    ("serves", "image", "refused"),
    [
        ("postgres:17-trixie", "postgres:17.6-bookworm", False),
        ("postgres:17", "postgres:18", True),
        ("postgres:18", "postgres:17", True),
        ("", "postgres:18", False),
    ],
)
def test_a_volume_is_made_for_the_release_that_serves(root, serves, image, refused):
    folder, _ = root
    record.write(folder / "releases" / "r3", {"number": 4, "image": "shop:shared", "postgres_image": serves})
    point_to(folder, "r3")
    assert ("the release r3, which serves" in restore.image_refusal(folder, image)) == refused


# --- slot_drained ---


def test_the_oldest_go_first_and_the_current_one_stays(root):
    folder, removed = root
    point_to(folder, "r0")
    assert sorted(slot_drained.prune(folder, keep=1)) == ["never-recorded", "r1", "r2"]
    assert sorted(path.name for path in (folder / "releases").iterdir()) == ["r0", "r3"]
    assert removed == ["shop:1", "shop:2", "shop:given-up"]


def test_the_last_good_one_stays_and_one_that_was_rolled_back_from_is_none(root):
    folder, _ = root
    for name in ("r2", "r1"):
        file = folder / "releases" / name / "release.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "rolled_back": "2026-01-01"}))
    slot_drained.prune(folder, keep=1)
    assert sorted(path.name for path in (folder / "releases").iterdir()) == ["r0", "r3"]


def test_an_image_that_another_release_uses_stays(root):
    folder, removed = root
    slot_drained.prune(folder, keep=2)
    assert removed == ["shop:1", "shop:given-up"]


def test_nothing_that_served_goes_while_there_are_few(root):
    folder, removed = root
    assert slot_drained.prune(folder, keep=5) == ["never-recorded"]
    assert removed == ["shop:given-up"]


def test_a_release_that_cannot_be_removed_is_warned_of_and_the_lock_given_back(root, monkeypatch, capsys):
    folder, _ = root
    monkeypatch.setattr(slot_drained.containers, "slots", lambda name: [])
    monkeypatch.setattr(slot_drained, "left_over", lambda name: [])
    monkeypatch.setattr(slot_drained.lock, "check", lambda root, token: None)
    monkeypatch.setattr(slot_drained.lock, "release", lambda root, token, now: None)

    def held(folder):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(slot_drained.shutil, "rmtree", held)
    warned = []
    monkeypatch.setattr(slot_drained.AnsibleModule, "warn", lambda self, warning: warned.append(warning))
    given = {"name": "shop", "root": str(folder), "slot": "blue", "timeout": 1, "keep": 1, "token": "t"}
    with patch_module_args(given), pytest.raises(SystemExit):
        slot_drained.main()
    assert json.loads(capsys.readouterr().out)["unlocked"] == "t"
    assert warned == [f"An old release could not be removed from {folder}/releases: Device or resource busy"]


# --- stack_absent ---


@pytest.mark.parametrize(
    ("given", "data", "kept"),
    [
        (["database_password"], False, ["certificates", "secrets", "backups"]),
        (["database_password"], True, ["backups"]),
        (
            ["database_password", "pgbackrest_passphrase"],
            False,
            ["certificates", "secrets/database_password", "secrets/pgbackrest_passphrase", "backups"],
        ),
        (["database_password", "pgbackrest_passphrase"], True, ["secrets/pgbackrest_passphrase", "backups"]),
    ],
)
def test_what_stays_of_a_stack_is_told(tmp_path, monkeypatch, capsys, given, data, kept):
    for place in ("secrets", "certificates", "backups", "releases"):
        (tmp_path / place).mkdir()
    for file in (*(f"secrets/{secret}" for secret in given), "backups/20260331T120000Z.dump"):
        (tmp_path / file).touch()
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: "")
    monkeypatch.setattr(stack_absent.timers, "own", lambda name: [])
    with patch_module_args({"name": "shop", "root": str(tmp_path), "data": data}), pytest.raises(SystemExit):
        stack_absent.main()
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["kept"]) == sorted(f"path {tmp_path}/{path}" for path in kept)
    assert all((tmp_path / path).exists() for path in kept)
    assert (tmp_path / "secrets" / "database_password").exists() != data


@pytest.fixture
def absent(tmp_path, monkeypatch, capsys):
    """Remove the stack shop, which has no containers, from a folder; return what the module says."""
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: "")
    monkeypatch.setattr(stack_absent.timers, "own", lambda name: [])

    def run(**more):
        with patch_module_args({"name": "shop", "root": str(tmp_path), **more}), pytest.raises(SystemExit):
            stack_absent.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_a_folder_that_no_stack_was_in_is_left_alone(tmp_path, absent):
    for place in ("bin", "proxy", "secrets", "certificates"):
        (tmp_path / place).mkdir()
    told = absent(data=True)
    assert told["removed"] == []
    assert len(list(tmp_path.iterdir())) == 4


def test_the_folder_of_another_stack_is_refused(tmp_path, absent):
    (tmp_path / "releases").mkdir()
    (tmp_path / "backup.json").write_text('{"name": "blog"}')
    told = absent(data=True)
    assert told["msg"] == f"fastapi_root is {tmp_path}, the folder of the stack blog; give shop's own, or leave it out."
    assert (tmp_path / "releases").exists()


def test_a_removal_holds_the_lock_and_finds_it_held(tmp_path, absent, monkeypatch):
    (tmp_path / "releases").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / ".lock").touch()
    seen = []
    monkeypatch.setattr(stack_absent.timers, "removed", lambda name: seen.append(lock.read(tmp_path)["owner"]))
    assert lock.acquire(tmp_path, {"token": "t", "owner": "ann@laptop"}, time.time(), 60)[0]
    assert "is being changed by ann@laptop" in absent()["msg"]
    assert (tmp_path / "releases").exists()
    lock.release(tmp_path, "t", time.time())
    assert absent()["removed"] == [f"path {tmp_path}/releases"]
    assert seen == ["a removal"]
    assert lock.read(tmp_path) == {}
    # The data may go later.
    assert absent(data=True)["removed"] == [f"path {tmp_path}/{folder}" for folder in ("secrets", "backups")]
    assert not tmp_path.exists()


# --- put_back ---


def test_a_rollback_that_is_given_up_leaves_no_release_that_was_rolled_back_from(root):
    folder, _ = root
    for place in ("secrets", "proxy"):
        (folder / place).mkdir()
    known = stack_info.releases(folder)
    record.write(folder / "releases" / "r2", {**known["r2"], "number": 5})
    record.write(folder / "releases" / "r3", {**known["r3"], "rolled_back": "2026-01-01"})
    point_to(folder, "r2")
    put_back.record("shop", folder, {"id": "r2"}, {"current": "r3", "live": "blue", "releases": known})
    assert stack_info.releases(folder) == known
    assert stack_info.current(folder) == "r3"


def test_what_serves_unrecorded_is_not_taken_down(root, monkeypatch):
    folder, _ = root
    asked = []
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: asked.append(arguments) or "")
    monkeypatch.setattr(put_back.containers, "drain", lambda *arguments: (0, 0))
    monkeypatch.setattr(put_back, "release_now", lambda name, slot: {"blue": "first", "green": "second"}[slot])
    (folder / "proxy" / "live").mkdir(parents=True)
    (folder / "proxy" / "live" / "green").touch()
    host = {"current": "", "live": "blue", "services": {"app-blue": {"release": "first"}}}
    for step in (put_back.old_slot, put_back.new_slot):
        step("shop", folder, {"id": "second", "slot": "green"}, host)
    assert [file.name for file in (folder / "proxy" / "live").iterdir()] == ["blue"]
    assert not any("down" in arguments for arguments in asked)
    assert ("rm", "--force", "shop-app-green-1") in asked


@pytest.mark.parametrize(
    ("in_blue", "live", "removed"),
    [
        # It was given up before it came to its slot, or in it.
        ("first", "blue", False),
        ("third", "green", True),
        (None, "green", True),
    ],
)
def test_after_a_flip_that_was_not_recorded_no_slot_is_live_that_was_given_up(root, monkeypatch, in_blue, live, removed):
    folder, _ = root
    asked = []
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: asked.append(arguments) or "")
    monkeypatch.setattr(put_back.containers, "drain", lambda *arguments: (0, 0))
    monkeypatch.setattr(put_back, "release_now", lambda name, slot: {"blue": in_blue, "green": "second"}[slot])
    (folder / "proxy" / "live").mkdir(parents=True)
    (folder / "proxy" / "live" / "green").touch()
    services = {"app-blue": {"release": "first"}, "app-green": {"release": "second"}}
    host = {"current": "first", "live": "green", "services": services}
    for step in (put_back.old_slot, put_back.new_slot):
        step("shop", folder, {"id": "third", "slot": "blue"}, host)
    assert [file.name for file in (folder / "proxy" / "live").iterdir()] == [live]
    assert (("rm", "--force", "shop-app-blue-1") in asked) == removed


def test_the_only_slot_that_serves_stays_with_its_release(root, monkeypatch):
    """It was never recorded, the one before it is gone, and the run that brings it again fails."""
    folder, _ = root
    asked = []
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: asked.append(arguments) or "")
    monkeypatch.setattr(put_back, "release_now", lambda name, slot: {"blue": None, "green": "second"}[slot])
    (folder / "proxy" / "live").mkdir(parents=True)
    (folder / "proxy" / "live" / "green").touch()
    (folder / "releases" / "second").mkdir()
    host = {
        "current": "first", "live": "green", "services": {"app-green": {"release": "second"}}, "releases": {}, "password": "kept",
    }  # fmt: skip
    for step in (put_back.old_slot, put_back.new_slot, put_back.release_folder):
        step("shop", folder, {"id": "second", "slot": "green", "image": "shop:second"}, host)
    assert (folder / "proxy" / "live" / "green").exists()
    assert (folder / "releases" / "second").is_dir()
    assert [arguments[0] for arguments in asked if "shop-migrate" not in arguments] == []


def test_the_front_door_starts_again_with_the_configuration_of_before(root, monkeypatch):
    folder, _ = root
    point_to(folder, "r3")
    (folder / "proxy").mkdir()
    (folder / "proxy" / "Caddyfile").write_text("new")
    (folder / "releases" / "r3" / "Caddyfile").write_text("old")
    same = {"Config": {"Labels": {"com.docker.compose.config-hash": "p"}}, "State": {"Status": "running"}}
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments, check=True: "proxy p\n")
    # Its database is elsewhere.
    monkeypatch.setattr(put_back.containers, "look", lambda container: same if container == "shop-proxy-1" else {})
    # It was recorded, and another host has failed.
    point_to(folder, "r2")
    put_back.services("shop", folder, {}, {"current": "r3"})
    assert (folder / "proxy" / "Caddyfile").read_text() == "old"


# --- release ---


def test_a_diff_shows_what_differs_and_no_secret(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, word in ((old, "one"), (new, "two")):
        (folder / "source").mkdir(parents=True)
        (folder / "Dockerfile").write_text("FROM same\n")
        (folder / "compose.yaml").write_text(f"image: {word}\n")
        (folder / ".env").write_text(f'SAME="s3cret"\nOTHER="s3cret-{word}"\n')
        (folder / "source" / "main.py").write_text(word)
        (folder / "source" / f"{word}.py").write_text("")
        (folder / "secrets").mkdir()
        (folder / "secrets" / "SAME").write_text("s3cret")
        (folder / "secrets" / "OTHER").write_text(f"s3cret-{word}")
    shown = {part["after_header"]: part for part in release.differences(old, new)}
    assert list(shown) == ["compose.yaml", ".env", "secrets", "source"]
    assert shown["compose.yaml"]["before"] == "image: one\n"
    assert shown[".env"]["after"] == 'SAME="***"\nOTHER="***" (changed)\n'
    assert (shown["secrets"]["before"], shown["secrets"]["after"]) == ("OTHER\nSAME\n", "OTHER (changed)\nSAME\n")
    assert shown["source"]["after"] == "main.py (changed)\ntwo.py\n"
    assert "s3cret" not in str(shown)


def test_the_same_release_has_no_diff(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / ".env").write_text('A="1"\n')
    assert release.differences(tmp_path, tmp_path) == []


def test_a_bundle_that_is_not_safe_is_told_in_words(tmp_path, monkeypatch, capsys):
    (tmp_path / "b").write_bytes(b"nonsense")
    arguments = {
        **{"name": "shop", "root": str(tmp_path / "shop"), "archive": str(tmp_path / "b")},
        **{"plan": {"id": "0123456789ab", "database": {}, "slot": "blue"}, "host": {"services": {}}},
    }
    monkeypatch.setattr(release.releases, "POSTGRES_UID", os.getuid())
    monkeypatch.setattr(release.lock, "check", lambda root, token: None)
    with patch_module_args(arguments), pytest.raises(SystemExit):
        release.main()
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] and re.fullmatch(
        "The release 0123456789ab cannot be unpacked: .*/b is damaged: .*; write it again.", said["msg"]
    )
    assert list((tmp_path / "shop" / "releases").iterdir()) == []


def served(services, current="r1"):
    """Return what is asked of a host on which a release serves, or none does yet."""
    return {"services": services, "current": current, "volume": {"user": "shop"}}


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_password_that_is_not_taken_is_refused_before_anything_is_touched(tmp_path, monkeypatch, capsys, check_mode):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    asked = []

    def facts(database, secret):
        asked.append(secret)
        raise release.postgres.LoginError("password authentication failed")

    monkeypatch.setattr(release.postgres, "facts", facts)
    monkeypatch.setattr(release.lock, "check", lambda root, token: None)
    arguments = {
        **{"name": "shop", "root": str(tmp_path), "archive": str(tmp_path / "b"), "_ansible_check_mode": check_mode},
        **{"plan": {"id": "0123456789ab", "database": {}}, "host": served({"db": {"status": "running"}})},
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        release.main()
    said = json.loads(capsys.readouterr().out)
    assert "password authentication failed" in said["msg"]
    assert "s3cret" not in str(said)
    assert asked == ["s3cret"]
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]


@pytest.mark.parametrize("services", [{}, {"db": {"status": "exited"}}])
def test_a_database_that_does_not_run_is_not_asked(tmp_path, services):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")

    parameters = {"name": "shop", "plan": {"database": {}}, "host": served(services), "database_password": None}
    assert release.ask(types.SimpleNamespace(params=parameters), tmp_path) == ({}, [])
    assert stack_info.database_warnings("shop", tmp_path, services, "shop") == []


def test_a_database_of_a_first_deploy_that_was_cut_off_is_not_asked(tmp_path, monkeypatch):
    """It may have no role yet; one that has served has, and is asked as that."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    asked = []
    monkeypatch.setattr(release.database_guards, "ask", lambda database, secret: asked.append(database.user) or ({}, []))
    for current in ("", "r1"):
        host = served({"db": {"status": "running"}}, current)
        parameters = {"name": "shop", "plan": {"database": {}}, "host": host, "database_password": None}
        release.ask(types.SimpleNamespace(params=parameters), tmp_path)
    assert asked == ["shop"]


def test_the_status_tells_that_the_password_is_not_taken(tmp_path, monkeypatch):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    said = 'FATAL:  password authentication failed for user "shop"'
    monkeypatch.setattr(stack_info.postgres.engine, "run", lambda *arguments, **more: (2, "", said))
    (told,) = stack_info.database_warnings("shop", tmp_path, {"db": {"status": "running"}}, "shop")
    assert said.replace("  ", " ") in told


# --- database_role ---


@pytest.mark.parametrize(
    ("labels", "known", "role"),
    [({"drydock.user": "shop"}, {"user": "other"}, "shop"), ({}, {"user": "other"}, "other"), ({}, {}, "")],
)
def test_the_role_is_the_one_that_the_data_was_made_for(tmp_path, monkeypatch, capsys, labels, known, role):
    (tmp_path / "backup.json").write_text(json.dumps(known))
    given = []
    monkeypatch.setattr(database_role.lock, "check", lambda root, token: None)
    monkeypatch.setattr(database_role.volumes, "labels", lambda volume: labels)
    monkeypatch.setattr(database_role.dumps, "owned", lambda container, owner: given.append((container, owner)) or True)
    with patch_module_args({"name": "shop", "root": str(tmp_path), "token": "t"}), pytest.raises(SystemExit):
        database_role.main()
    assert given == ([("shop-db-1", role)] if role else [])
    assert json.loads(capsys.readouterr().out)["changed"] is bool(role)


# --- rollback_plan ---


def test_a_rollback_that_another_run_has_done_is_not_done_twice():
    host = {"current": "r2", "releases": {name: {"number": number} for number, name in enumerate(("r1", "r2", "r3"))}}
    host["releases"]["r3"]["rolled_back"] = "2026-01-01"
    assert rollback_plan.chosen(host, "", leaving="r2") == "r1"
    with pytest.raises(ValueError, match="r3 was to be rolled back from, and another run has made r2 the current release"):
        rollback_plan.chosen(host, "", leaving="r3")
    assert rollback_plan.chosen(host, "r1", leaving="r3") == "r1"


def test_the_place_of_the_data_is_said():
    assert rollback_plan.place({"database": {}}) == "the stack's own database"
    assert rollback_plan.place({"database": {"host": "db.example.com", "name": "shop"}}) == "the database shop on db.example.com"


# --- restore ---


@pytest.mark.parametrize(
    ("live", "noted", "gone", "kept"),
    [
        ("", {"filling": True}, True, False),
        # All of the data is in it, and the run was cut off before it said so.
        ("", {"filling": False}, False, False),
        # Of a version of before, that did not say.
        ("", {}, True, False),
        ("current", {}, False, False),
        ("volume", {"filling": False}, False, False),
        # A part of the data that somebody had made the live one: still a part of it.
        ("current", {"filling": True}, False, True),
    ],
)
def test_what_a_restore_that_was_cut_off_left_is_no_data_unless_it_is_whole(tmp_path, monkeypatch, live, noted, gone, kept):
    removed = []
    monkeypatch.setattr(restore.dumps, "removed", lambda container, volume="": removed.append(volume))
    (tmp_path / "restoring").write_text(json.dumps({"volume": "shop_postgres_data", **noted}))
    if live:
        (tmp_path / live).write_text("shop_postgres_data\n")
    restore.forget("shop", tmp_path)
    assert ("shop_postgres_data" in removed) is gone
    assert (tmp_path / "restoring").exists() is kept


def test_what_another_restore_was_cut_off_in_filling_is_removed(tmp_path, monkeypatch):
    removed = []
    monkeypatch.setattr(restore.dumps, "removed", lambda container, volume="": removed.append(volume))
    (tmp_path / "current").mkdir()
    for filling in (True, False):
        volumes.note(tmp_path, "shop_postgres_data_2", filling)
        restore.forget("shop", tmp_path)
        assert removed.pop() == "shop_postgres_data_2"
        assert not (tmp_path / "restoring").exists()


@pytest.mark.parametrize(
    ("there", "live", "wanted"),
    [
        ("", "", "shop_postgres_data"),
        ("shop_postgres_data", "shop_postgres_data", "shop_postgres_data_2"),
        ("shop_postgres_data shop_postgres_data_2", "shop_postgres_data_2", "shop_postgres_data_3"),
        # The live one is gone: what is made in its place is not live before it is whole.
        ("", "shop_postgres_data", "shop_postgres_data_2"),
        ("shop_postgres_data", "shop_postgres_data_2", "shop_postgres_data_3"),
    ],
)
def test_a_new_volume_is_not_the_live_one(tmp_path, monkeypatch, there, live, wanted):
    monkeypatch.setattr(docker_cli, "volumes", there.split)
    if live:
        (tmp_path / "volume").write_text(f"{live}\n")
    assert restore.new_volume("shop", tmp_path) == wanted


@pytest.mark.parametrize(
    ("current", "there", "partial", "serves"),
    [
        (False, "shop_postgres_data", "", False),
        (True, "shop_postgres_data", "", True),
        (True, "shop_postgres_data_2", "", False),
        (True, "shop_postgres_data", "shop_postgres_data", False),
        (True, "shop_postgres_data", "shop_postgres_data_2", True),
    ],
)
def test_a_stack_whose_data_is_there_goes_over_to_what_is_restored(tmp_path, monkeypatch, current, there, partial, serves):
    monkeypatch.setattr(docker_cli, "volumes", there.split)
    if current:
        (tmp_path / "current").mkdir()
    if partial:
        volumes.note(tmp_path, partial, filling=True)
    assert restore.runs(tmp_path, "shop") is serves
    if partial:
        volumes.note(tmp_path, partial, filling=False)
        assert volumes.partial(tmp_path) == ""


def test_an_engine_that_does_not_answer_is_not_taken_for_data_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(docker_cli, "run", lambda *arguments, **options: (1, "", "Cannot connect to the Docker daemon"))
    (tmp_path / "current").mkdir()
    with pytest.raises(docker_cli.EngineError, match="Cannot connect"):
        restore.runs(tmp_path, "shop")
    with pytest.raises(docker_cli.EngineError, match="Cannot connect"):
        stack_info.volume("shop_postgres_data", tmp_path, "shop")


# --- stack_info ---


def test_a_bare_host_has_nothing(tmp_path):
    assert stack_info.releases(tmp_path / "none") == {}
    assert stack_info.current(tmp_path / "none") == ""
    assert stack_info.live(tmp_path / "none") == []
    assert not stack_info.intact(tmp_path / "none", "shop")
    assert stack_info.password(tmp_path / "none", None) == "missing"


def test_a_stack_is_read_from_its_folder(tmp_path):
    (tmp_path / "releases" / "abc").mkdir(parents=True)
    (tmp_path / "releases" / ".abd.partial").mkdir()
    (tmp_path / "current").symlink_to("releases/abc")
    (tmp_path / "proxy" / "live").mkdir(parents=True)
    (tmp_path / "proxy" / "live" / "green").touch()
    assert stack_info.releases(tmp_path) == {"abc": {}}
    assert stack_info.current(tmp_path) == "abc"
    assert stack_info.live(tmp_path) == ["green"]


def test_a_link_to_nothing_is_no_release(tmp_path):
    (tmp_path / "current").symlink_to("releases/gone")
    assert stack_info.current(tmp_path) == ""


@pytest.mark.parametrize(("given", "found"), [(None, "kept"), ("right", "same"), ("wrong", "other")])
def test_a_password_is_compared_and_not_told(tmp_path, given, found):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("right")
    assert stack_info.password(tmp_path, given) == found


@pytest.mark.parametrize(
    ("database", "data", "lost"),
    [
        ({}, "name: shop_postgres_data", True),
        ({}, f"name: {VOLUME_TOKEN}", True),
        # Templates of a user's own may have it elsewhere.
        ({}, "device: /srv/data", False),
        ({}, "", True),
        ({"host": "db.example.com"}, "name: shop_postgres_data", False),
        (None, "", False),
    ],
)
def test_data_that_a_release_served_with_and_that_is_gone_is_lost(tmp_path, monkeypatch, database, data, lost):
    monkeypatch.setattr(docker_cli, "inspect", lambda *arguments: [])
    monkeypatch.setattr(docker_cli, "volumes", list)
    if database is not None:
        (tmp_path / "releases" / "abc").mkdir(parents=True)
        (tmp_path / "releases" / "abc" / "release.json").write_text(json.dumps({"id": "abc", "database": database}))
        if data:
            (tmp_path / "releases" / "abc" / "compose.yaml").write_text(f"volumes:\n  postgres_data:\n    {data}\n")
        point_to(tmp_path, "abc")
    assert stack_info.volume("shop_postgres_data_3", tmp_path, "shop")["lost"] is lost


@pytest.mark.parametrize("place", ["PG_VERSION", "data/PG_VERSION", "18/docker/PG_VERSION"])
def test_the_major_version_is_read_from_the_data(tmp_path, monkeypatch, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("18\n")
    labels = {"drydock.database": "shop", "drydock.user": "me", "com.docker.compose.project": "orders"}
    monkeypatch.setattr(docker_cli, "inspect", lambda *arguments: [{"Mountpoint": str(tmp_path), "Labels": labels}])
    assert stack_info.volume("v", tmp_path, "shop") == {
        **{"name": "v", "exists": True, "lost": False, "stack": "orders"},
        **{"major": "18", "database": "shop", "user": "me"},
    }
    del labels["drydock.user"]
    (tmp_path / "backup.json").write_text('{"user": "known"}')
    assert stack_info.volume("v", tmp_path, "shop")["user"] == "known"


@pytest.fixture
def networks(monkeypatch):
    """The subnets of the networks that there are, by name."""
    found = {}

    def inspect(*arguments):
        return [
            {"Name": name, "IPAM": {"Config": [{"Subnet": subnet} for subnet in found[name]]}}
            for name in arguments[2:]
            if name in found
        ]

    monkeypatch.setattr(docker_cli, "docker", lambda *arguments: "\n".join(found))
    monkeypatch.setattr(docker_cli, "inspect", inspect)
    monkeypatch.setattr(stack_info, "routes", lambda: [])
    monkeypatch.setattr(stack_info.zlib, "crc32", lambda name: 4096)
    return found


def test_the_front_door_keeps_its_network(networks):
    networks.update(bridge=["172.17.0.0/16"], shop_front=["fd00::/64", "172.30.5.16/28"])
    assert stack_info.front("shop") == {"subnet": "172.30.5.16/28", "range": "172.30.5.16/29", "proxy": "172.30.5.30"}


def test_a_new_front_network_overlaps_no_other(networks):
    networks.update(a=["172.30.0.0/27"], none=[], b=["fd00::/64", "172.30.0.32/28"])
    assert stack_info.front("shop")["subnet"] == "172.30.0.48/28"


def test_a_front_network_is_made_elsewhere_where_a_route_takes_the_whole_pool(networks, monkeypatch):
    monkeypatch.setattr(stack_info, "routes", lambda: [ipaddress.ip_network("172.16.0.0/12")])
    assert stack_info.front("shop")["subnet"].startswith("10.217.")
    monkeypatch.setattr(
        stack_info, "routes", lambda: [ipaddress.ip_network(net) for net in ("172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16")]
    )
    with pytest.raises(docker_cli.EngineError, match="no room"):
        stack_info.front("shop")


@pytest.fixture
def stack(tmp_path):
    """A stack as a deploy leaves it, in slot green."""
    folder = tmp_path / "releases" / "abc"
    for place in (folder / "unfilled", folder / "source", tmp_path / "secrets", tmp_path / "proxy" / "live"):
        place.mkdir(parents=True)
    (tmp_path / "secrets" / "database_password").write_text("s3cret")
    (folder / "unfilled" / "compose.yaml").write_text(f"services: {{app-{SLOT_TOKEN}: {{}}}}\n")
    (folder / "unfilled" / ".env").write_text('P_FILE="/run/secrets/P"\n')
    (folder / "unfilled" / "secrets").mkdir()
    (folder / "unfilled" / "secrets" / "P").write_text(PASSWORD_TOKEN)
    fill(folder, "green", "s3cret", "shop_postgres_data")
    for file in (
        folder / "Dockerfile",
        folder / "Caddyfile",
        tmp_path / "proxy" / "Caddyfile",
        tmp_path / "proxy" / "live" / "green",
    ):
        file.touch()
    (tmp_path / "current").symlink_to("releases/abc")
    return tmp_path


def test_a_stack_that_nobody_has_touched_is_intact(stack):
    assert stack_info.intact(stack, "shop")


@pytest.mark.parametrize(
    "path",
    [
        "current/compose.yaml",
        "current/.env",
        "current/secrets/P",
        "current/Dockerfile",
        "proxy/Caddyfile",
        "proxy/live/green",
        "secrets/database_password",
    ],
)
def test_a_stack_without_one_of_its_files_is_not(stack, path):
    (stack / path).unlink()
    assert not stack_info.intact(stack, "shop")


@pytest.mark.parametrize("path", ["current/compose.yaml", "current/.env", "current/secrets/P", "proxy/Caddyfile"])
def test_a_stack_whose_files_were_edited_is_not(stack, path):
    (stack / path).chmod(0o600)
    with (stack / path).open("a") as file:
        file.write("#\n")
    assert not stack_info.intact(stack, "shop")


def test_two_live_slots_are_one_too_many(stack):
    (stack / "proxy" / "live" / "blue").touch()
    assert not stack_info.intact(stack, "shop")
    assert stack_info.live(stack)[-1] == "green"


def test_restored_data_is_migrated_as_the_release_was():
    assert restore.migration({"migrate_command": ["python", "migrate.py"], "migrations": ""}) == ["python", "migrate.py"]
    assert restore.migration({"migrate_command": [], "migrations": "abc"}) == []
    # Of a version that did not record it, and of a rollback to such a one.
    assert restore.migration({"migrations": "abc"}) == restore.migration({"migrate_command": "", "migrations": "abc"})
    assert restore.migration({"migrations": "abc"}) == ["alembic", "upgrade", "head"]
    assert restore.migration({}) == []


# --- upgrade ---


@pytest.mark.parametrize(
    ("found", "image", "checksum", "free", "said"),
    [
        ({}, (17, {"plpgsql"}), "sound", 10**12, []),
        ({}, None, "sound", 10**12, []),
        ({"others": ["other"]}, None, "sound", 10**12, ["databases other, which would stay behind"]),
        ({"extensions": ["postgis"]}, (17, {"plpgsql"}), "sound", 10**12, ["extensions postgis, which postgres:17-trixie lacks"]),
        ({}, (16, {"plpgsql"}), "sound", 10**12, ["what is in it is PostgreSQL 16"]),
        ({}, None, "changed", 10**12, ["which is not what was written"]),
        ({}, None, "sound", 10**8, ["2.7 GB are needed for a dump and a new volume, and the host has 0.1 GB free"]),
    ],
)
def test_an_upgrade_is_refused_before_anything_is_touched(found, image, checksum, free, said):
    answer = {"size": 10**9, "extensions": ["plpgsql"], "others": [], **found}
    settings = {"image": "postgres:17-trixie", "database": "shop"}
    host = {"backups": {"backups": [{"name": "x.dump", "checksum": checksum}]}}
    told = upgrade.refusals(answer, image, settings, host, free)
    assert len(told) == len(said)
    assert all(part in message for part, message in zip(said, told, strict=True))


def test_an_upgrade_needs_a_backup():
    answer = {"size": 1, "extensions": [], "others": []}
    (told,) = upgrade.refusals(answer, None, {"image": "postgres:17"}, {"backups": {}}, 10**12)
    assert "The newest backup is missing" in told


def test_the_data_of_before_gets_the_password_of_now_for_the_applications_role(tmp_path, monkeypatch):
    """Whatever kind of cluster it is: who the superuser is, is written down before anything is asked of it."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text("of-now")
    done = []
    monkeypatch.setattr(
        upgrade.dumps, "database_starts", lambda own, *more, **options: done.append((own["mount"], own["database"]))
    )
    monkeypatch.setattr(upgrade.dumps, "owned", lambda *given: done.append(("owned", *given)) or True)
    for step in ("alter", "let_in"):
        monkeypatch.setattr(upgrade.rotation, step, lambda *given, step=step: done.append((step, *given)))
    monkeypatch.setattr(docker_cli, "docker", lambda *arguments: done.append(arguments[0]))
    # A rollback need not be given their names, which the volume has.
    monkeypatch.setattr(upgrade, "labels", lambda volume: {"drydock.database": "orders", "drydock.user": "owner"})
    settings = {"image": "postgres:18", "mount": "/var/lib/postgresql", "user": "shop", "database": "shop"}
    upgrade.tell_password("shop", tmp_path, settings, "postgres:15", "shop_postgres_data")
    assert done == [
        *(
            ("/var/lib/postgresql/data", "orders"),
            ("owned", "shop-restore", "owner"),
            ("alter", "shop-restore", "owner", "of-now"),
        ),
        *(("let_in", "shop-restore", "owner", []), "stop"),
    ]


def test_an_earlier_major_version_needs_the_volume_of_before(monkeypatch):
    host = {"volume": {"name": "v2", "major": "17"}, "other_volumes": ["v"]}
    record = {"database": {}, "postgres_image": "postgres:15-bookworm"}
    monkeypatch.setattr(rollback_plan.volumes, "labels", lambda volume: {"drydock.before": "v"} if volume == "v2" else {})
    assert rollback_plan.other_data(host, "r1", record) == "v"
    assert rollback_plan.other_data(host, "r1", {**record, "postgres_image": "postgres:17"}) == ""
    with pytest.raises(ValueError, match="the volume of before, v, is gone"):
        rollback_plan.other_data({**host, "other_volumes": []}, "r1", record)


@pytest.mark.parametrize("as_files", [False, True])
def test_a_migration_gets_the_login_of_its_role_in_no_command_line(tmp_path, monkeypatch, as_files):
    monkeypatch.setattr(migrate, "LOGIN", tmp_path)
    monkeypatch.setattr(migrate, "APP_UID", os.getuid())
    folder = tmp_path / "drydock-shop-migrate"
    folder.mkdir()
    (folder / "left").touch()
    login = {
        "migrator_variables": {"DB_USER": "keeper"},
        "migrator_secrets": {"DB_PASSWORD": "a'b"},
        "secrets_as_files": as_files,
    }
    with migrate.login_of(login, "shop-migrate") as (given, words):
        assert "a'b" not in " ".join(words)
        if as_files:
            file = folder / "DB_PASSWORD"
            assert (file.read_text(), file.stat().st_mode & 0o777) == ("a'b", 0o400)
            assert [path.name for path in folder.iterdir()] == ["DB_PASSWORD"]
            assert given == {"DB_USER": "keeper"}
            assert words == ["--volume", f"{file}:/run/secrets/DB_PASSWORD:ro", "--env", "DB_USER"]
        else:
            assert given == {"DB_USER": "keeper", "DB_PASSWORD": "a'b"}
            assert words == ["--env", "DB_USER", "--env", "DB_PASSWORD"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_files", [False, True])
def test_a_migration_by_the_applications_role_is_given_nothing(tmp_path, monkeypatch, as_files):
    monkeypatch.setattr(migrate, "LOGIN", tmp_path)
    none = {"migrator_variables": {}, "migrator_secrets": {}, "secrets_as_files": as_files}
    with migrate.login_of(none, "shop-migrate") as told:
        assert told == ({}, [])


def test_what_a_migration_is_given_follows_from_the_variables():
    given = {
        "fastapi_database_host": "db.example.com",
        "fastapi_database_port": 5432,
        "fastapi_database_sslmode": "require",
        "fastapi_database_name": "shop",
        "fastapi_database_user": "plain",
        "fastapi_postgres_image": "postgres:17",
        "fastapi_database_url_scheme": "postgresql",
        "fastapi_database_env": {"host": "PGHOST", "user": "PGUSER", "url": "URL"},
        "fastapi_secrets_as_files": True,
    }
    assert render.migrator(given) == {}
    login = {"fastapi_database_migrator_user": "keeper", "fastapi_database_migrator_password": "a/b"}
    assert render.migrator(given | login) == {
        "migrator_user": "keeper",
        "migrator_password": "a/b",
        "migrator_variables": {"PGUSER": "keeper"},
        "migrator_secrets": {"URL": "postgresql://keeper:a%2Fb@db.example.com:5432/shop"},
        "secrets_as_files": True,
    }


def test_backups_follow_the_image_of_the_release_that_serves(tmp_path):
    record.follow(tmp_path, "postgres:15")
    assert not (tmp_path / "backup.json").exists()
    (tmp_path / "backup.json").write_text(json.dumps({"name": "shop", "image": "postgres:18", "mount": "/var/lib/postgresql"}))
    record.follow(tmp_path, "postgres:15")
    told = json.loads((tmp_path / "backup.json").read_text())
    assert told == {"name": "shop", "image": "postgres:15", "mount": "/var/lib/postgresql/data"}


@pytest.mark.parametrize(
    ("health", "kept", "why"),
    [
        ("healthy", False, None),
        ("starting", False, ""),
        ("unhealthy", False, "is unhealthy"),
        # Its database was away, and the next look is up to half a minute ahead.
        ("unhealthy", True, ""),
    ],
)
def test_a_slot_that_served_before_may_get_healthy_again(health, kept, why, monkeypatch):
    found = {"State": {"Status": "running", "Health": {"Status": health, "Log": []}}, "RestartCount": 0}
    monkeypatch.setattr(slot_ready.containers, "look", lambda container: found)
    assert slot_ready.complaint("shop-app-blue-1", "/readyz", 0, kept) == why
