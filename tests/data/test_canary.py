"""A canary run: a secret in every variable that takes one, much that happens to a stack, and a search for them everywhere."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import DATA

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / ".cache" / "molecule" / "data" / "inventory"
CONVERGE = ROOT / "molecule" / "data" / "converge.yml"
SERVER = "drydock-lab-data"
STACK = "/opt/canary"
# Seconds; several times what the longest playbook takes on two busy cores.
TIMEOUT = 400
# Seconds between two looks at the processes, and how often at each: in its first seconds it becomes the program that it is for.
PAUSE = 0.05
LOOKS = 40
# In each secret, among characters that are quoted in many ways; no quoting changes it.
MARK = f"Cnry{secrets.token_hex(6)}"
# Printed last, so that a search which could not read everything is told from one that found nothing.
ALL = f"all read {secrets.token_hex(6)}"
# The application, which tells all it knows before it fails.
TELLS = "import os\nfor name in os.environ if os.environ.get('TELLS') else ():\n    print(name, os.environ[name], flush=True)\n"
TELLS_AND_FAILS = ["python", "-c", "import os; print(*os.environ.items(), *os.environ.values(), sep='\\n'); raise SystemExit(3)"]


def secret(name: str) -> str:
    return f"{MARK}-{name} $HOME'\"\\%20@:/?#&=+`"


def forms(text: str) -> set[str]:
    """Return what a text is within whatever it stands in: as it is, and in base64, which depends on how much comes before."""
    found = {text, text.encode().hex()}
    for before in range(3):
        encoded = base64.b64encode(b"-" * before + text.encode()).decode()
        # Without the characters at both ends that its neighbours have a part in.
        found.add(encoded[-(-before * 8 // 6) : (before + len(text)) * 8 // 6])
    return found


class Watch(threading.Thread):
    """Reads the command lines of all processes, those in the server among them, and its files that others may read."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        inspect = ["docker", "inspect", "--format", "{{ .State.Pid }}", SERVER]
        pid = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        self.server = Path(f"/proc/{pid}/root")
        self.over = threading.Event()
        self.programs: set[str] = set()
        self.files: dict[str, str] = {}

    def run(self) -> None:
        looks: dict[Path, int] = {}
        while not self.over.wait(PAUSE):
            looks = {process: looks.get(process, 0) + 1 for process in Path("/proc").iterdir() if process.name.isdigit()}
            self.programs |= {text(process / "cmdline") for process, count in looks.items() if count <= LOOKS}
            for folder in ("tmp", "var/tmp", "dev/shm", "run/lock", "run/drydock-canary"):
                self.files |= {str(file): text(file) for file in readable(self.server / folder)}

    def stop(self) -> None:
        self.over.set()
        self.join()


def text(file: Path) -> str:
    """Return what a file holds, the end of each word of a command line as a space; "" where it has gone."""
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def readable(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that everybody can read."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if mode(Path(parent, name)) & 0o001]
        yield from (path for name in files if mode(path := Path(parent, name)) & 0o004)


def mode(path: Path) -> int:
    try:
        found = path.lstat().st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(found) else found


class Canary:
    """The stack `canary` beside the one of the other tests, and all that was said while things happened to it."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.said: dict[str, str] = {}
        self.codes: dict[str, int] = {}
        self.patterns = forms(MARK)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()

    def run(self, playbook: str, *options: str, story: str = "", **variables: Any) -> None:
        name = story or playbook
        file = self.folder / f"{name}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(variables))
        path = CONVERGE if playbook == "deploy" else ROOT / "playbooks" / f"{playbook}.yml"
        where = ["--inventory", INVENTORY, "--limit", SERVER]
        command = ["ansible-playbook", "-vvv", "--diff", *options, *where, "--extra-vars", f"@{file}", path]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True,
            timeout=TIMEOUT, cwd=ROOT,
            env={**self.server.environment, "ANSIBLE_LOCAL_TEMP": str(self.temporary), "TMPDIR": str(self.temporary)},
        )  # fmt: skip
        # Where Ansible breaks a line is its own.
        self.codes[name], self.said[name] = done.returncode, " ".join(done.stdout.split())

    def hold(self, text: str) -> list[str]:
        """Return what stands around the secrets in a text."""
        pattern = "|".join(map(re.escape, self.patterns))
        return [text[max(found.start() - 80, 0) : found.end() + 40] for found in re.finditer(pattern, text)]

    def search(self, command: str) -> list[str]:
        """Return the lines of what a command on the server prints in which a secret is."""
        read = f"{{ set -e; {command}; printf '\\n{ALL}\\n'; }} | grep --text --regexp='{ALL}' {self.words()}"
        lines = self.server.sh(f"{read} | cut -c -300 | tr -cd '[:print:]\\n'").splitlines()
        assert lines[-1:] == [ALL], (command, lines)
        return lines[:-1]

    def grep(self) -> str:
        """Return the command that names those of the files after it in which a secret is."""
        return f"grep --text --files-with-matches --no-messages {self.words()}"

    def words(self) -> str:
        return " ".join(["--fixed-strings", *(f"--regexp={pattern}" for pattern in sorted(self.patterns))])


def key(folder: Path, name: str) -> tuple[str, set[str]]:
    """Make a key of ssh; return the file, and what is nowhere but in its private part."""
    file = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)], check=True)
    return str(file), {file.read_text().splitlines()[4]}


@pytest.fixture(scope="module")
def canary(server, tmp_path_factory):
    """The whole story, told with all that Ansible can say; the tests look for what it left."""
    folder = tmp_path_factory.mktemp("canary")
    canary = Canary(server, folder)
    (own, private), (other, private_other) = key(folder, "own"), key(folder, "other")
    canary.patterns |= private | private_other
    source = folder / "source"
    subprocess.run(["cp", "-r", str(ROOT / "tests" / "faults" / "app"), str(source)], check=True)
    main = (source / "main.py").read_text()
    assert '"the fault of the test"' in main
    (source / "main.py").write_text(TELLS + main.replace('"the fault of the test"', 'os.environ["TOKEN"]'))
    given = {
        "fastapi_name": "canary",
        "fastapi_port": 8002,
        "fastapi_source": str(source),
        "fastapi_settle_time": 0,
        "fastapi_database_password": secret("password"),
        "fastapi_build_secrets": {
            "netrc": f"machine index.invalid login me password {MARK}-netrc\n",
            "uv.toml": f"# {secret('uv')}\n",
            "pip.conf": f"[global]\n# {secret('pip')}\n",
        },
        "fastapi_backup_rclone_config": f"[offsite]\ntype = local\npass = {secret('rclone')}\n",
        "fastapi_backup_copy_to": "offsite:/srv/canary",
        "fastapi_backup_encrypt_to": " ".join(Path(f"{own}.pub").read_text().split()),
        "fastapi_alert_command": [],
        "fastapi_basic_auth_paths": ["/docs"],
        "fastapi_basic_auth_users": {"me": f"$2a$12${MARK.ljust(53, 'a')}"},
    }
    env = {
        "TOKEN": secret("token"),
        "BROKER": f"redis://:{MARK}-broker@cache:6379/0",
        "KEY": f"-----BEGIN\n{MARK}-key\n-----END\n",
    }
    next_env = {**env, "TOKEN": secret("another")}
    broken = {**given, "fastapi_env": {**next_env, "TELLS": "yes"}, "fastapi_healthy_timeout": 15}
    restore = {"fastapi_restore_confirm": "canary", "fastapi_restore_from": "copy", "fastapi_restore_identity": other}
    server.sh("touch /root/began && mkdir -p /srv/canary")
    watch = Watch()
    watch.start()
    try:
        canary.run("deploy", **given, fastapi_env=env)
        canary.run("maintenance", fastapi_name="canary")
        canary.run("deploy", "--check", story="plan", **given, fastapi_env=next_env)
        canary.run("deploy", story="update", **given, fastapi_env=next_env)
        canary.run("backup", fastapi_name="canary")
        canary.run("deploy", story="migration", **broken, fastapi_migrate_command=TELLS_AND_FAILS)
        broken["fastapi_env"]["FAULT"] = "never ready"
        canary.run("deploy", story="unhealthy", **broken)
        canary.run("rollback", **given)
        canary.run("restore", **given, **restore)
        canary.run("status", fastapi_name="canary", fastapi_status_file=str(folder / "status"))
        watch.stop()
        canary.given, canary.watch = {**given, "fastapi_env": env}, watch
        canary.patterns |= forms(server.sh(f"cat {STACK}/secrets/maintenance_bypass"))
        yield canary
    finally:
        watch.stop()
        server.works("remove", fastapi_name="canary", fastapi_remove_data="canary")


def test_every_variable_that_takes_a_secret_has_one(canary):
    """Whatever the role does not log, and whatever is data."""
    spec = yaml.safe_load((ROOT / "roles" / "fastapi" / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    unlogged = {name for entry in spec.values() for name, option in entry["options"].items() if option.get("no_log")}
    # A database elsewhere has that one: tests/faults asks for it.
    for name in (unlogged | set(DATA)) - {"fastapi_database_migrator_password"}:
        assert MARK in json.dumps(canary.given[name]), name


def test_it_all_happened(canary):
    """What was to fail failed, with the words of who failed, and stars in place of secrets."""
    failed = {name for name, code in canary.codes.items() if code}
    assert failed == {"migration", "unhealthy", "restore"}, {name: canary.said[name][-2000:] for name in failed}
    for name in ("migration", "unhealthy"):
        for variable in ("TOKEN", "BROKER", "DB_PASSWORD"):
            assert re.search(rf"\b{variable}\W+\*\*\*", canary.said[name]), (name, variable, canary.said[name][-3000:])
    assert "503 Service Unavailable ***" in canary.said["unhealthy"]
    assert "cannot be decrypted" in canary.said["restore"]


def test_no_output_shows_a_secret(canary):
    shown = {name: canary.hold(said) for name, said in canary.said.items()}
    assert not {name: found for name, found in shown.items() if found}
    assert not canary.hold((canary.folder / "status").read_text())


def test_no_process_is_given_a_secret_and_no_file_that_others_read(canary):
    """As often as it was looked; the programs on the controller were seen, and those in the server's containers."""
    assert not [words for words in canary.watch.programs if canary.hold(words)]
    assert not [file for file, text in canary.watch.files.items() if canary.hold(text)]
    for program in ("ansible-playbook", "uvicorn main:app", "docker compose", "raise SystemExit(3)"):
        assert any(program in words for words in canary.watch.programs), program


def test_no_image_holds_a_secret(canary):
    """Its configuration and its history, and the bytes of each layer."""
    images = " ".join(canary.server.sh("docker image ls --quiet --filter label=drydock.stack=canary").split())
    assert images
    assert canary.search(f"docker image inspect {images}; for i in {images}; do docker image history --no-trunc $i; done") == []
    assert canary.search(f"docker save {images}") == []
    # It can be read at all: what the application is made of stands there.
    assert int(canary.server.sh(f"docker save {images} | grep --text --count 'ready for itself alone'"))


def test_no_container_tells_a_secret_but_its_own_environment(canary):
    """What the engine knows of containers, volumes and networks, and what they have written to their logs."""
    names = canary.server.sh("docker ps --all --filter label=com.docker.compose.project=canary --format '{{.Names}}'").split()
    assert len(names) == 3, names
    for name in names:
        [found] = json.loads(canary.server.sh(f"docker inspect {name}"))
        environment = found["Config"].pop("Env")
        assert not canary.hold(json.dumps(found)), name
        assert bool(canary.hold(" ".join(environment))) == ("-app-" in name), name
        assert canary.search(f"docker logs {name} 2>&1") == []
    assert canary.search("docker volume inspect $(docker volume ls -q); docker network inspect $(docker network ls -q)") == []


def test_the_journal_holds_no_secret(canary):
    assert canary.search("journalctl --no-pager --all --output=export") == []


def test_nobody_else_can_read_a_secret_on_the_server(canary):
    """Asked as nobody, who reads what everybody may read."""
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    find = f"{nobody} find / /tmp /run /dev/shm -xdev -type f -readable -print0 2> /dev/null"
    assert int(canary.server.sh(f"{find} | tr -cd '\\0' | wc -c")) > 1000
    assert canary.server.sh(f"{find} | {nobody} xargs -0 {canary.grep()}", check=False) == ""


def test_secrets_are_where_they_have_to_be_and_nowhere_else(canary):
    """In .env and below secrets, and where the engine keeps a container's environment; nothing is left of a run."""
    find = "find / /tmp /run /dev/shm /var/lib/docker -xdev -type f -print0 2> /dev/null"
    found = set(canary.server.sh(f"{find} | xargs -0 {canary.grep()}", check=False).splitlines())
    allowed = {
        rf"{STACK}/releases/[0-9a-f]{{12}}/(unfilled/)?\.env": "600",
        rf"{STACK}/secrets/(database_password|maintenance_bypass|rclone\.conf)": "[46]00",
        r"/var/lib/docker/containers/[0-9a-f]{64}/config\.v2\.json": "600",
        # Below folders that are root's alone.
        rf"{STACK}/(releases/[0-9a-f]{{12}}|proxy)/Caddyfile": "...",
        r"/var/lib/containerd/io\.containerd\.metadata\.v1\.bolt/meta\.db": "...",
        r"/run/containerd/io\.containerd\.runtime\.v2\.task/moby/[0-9a-f]{64}/config\.json": "...",
    }
    for file in sorted(found):
        wanted = [right for path, right in allowed.items() if re.fullmatch(path, file)]
        assert wanted, file
        assert re.fullmatch(wanted[0], canary.server.sh(f"stat -c %a {file}")), file
    for path in allowed:
        assert any(re.fullmatch(path, file) for file in found), path
    assert canary.server.sh(f"stat -c %a {STACK}/secrets") == "700"
    left = "find /tmp /var/tmp /dev/shm /run/drydock-* /root/.ansible -newer /root/began -type f 2> /dev/null"
    assert canary.server.sh(left, check=False) == ""


def test_nothing_is_left_on_the_controller(canary):
    """Where Ansible keeps its temporary files, and elsewhere where programs leave some."""
    assert [path for path in canary.temporary.rglob("*") if path.is_file()] == []
    places = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home() / ".ansible", Path.home() / ".cache"]  # noqa: S108
    newer = subprocess.run(
        ["find", *map(str, filter(Path.exists, places)), "-xdev", "-maxdepth", "3", "-type", "f",
         "-newer", str(canary.folder / "deploy.json"), "-not", "-path", f"{canary.folder}/*"],
        check=False, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert [file for file in newer if canary.hold(text(Path(file)))] == []


def test_a_log_is_shown_without_secrets(canary):
    """An application that logs its environment: the playbook shows the log, and stars in it."""
    name = canary.server.sh("docker ps --filter label=drydock.release --filter name=canary-app --format '{{.Names}}'")
    canary.server.sh(f"docker exec {name} sh -c 'env > /proc/1/fd/1'")
    canary.run("logs", fastapi_name="canary")
    assert "TOKEN=***" in canary.said["logs"], canary.said["logs"][-3000:]
    assert not canary.hold(canary.said["logs"])
