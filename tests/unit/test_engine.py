"""What the modules about the engine find, judge and write, with executables and processes made for the test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.drydock.stack.plugins.filter.debian_mirrors import debian_mirrors
from ansible_collections.drydock.stack.plugins.module_utils import engine
from ansible_collections.drydock.stack.plugins.modules import engine_process, engine_settings

MINIMUM = {"version": "25.0", "compose": "2.24", "buildx": "0.10"}
PLUGINS = [{"Name": "compose", "Version": "v2.26.1-4"}, {"Name": "buildx", "Version": "0.13.1+ds1"}]
RUNNING = {"ServerVersion": "26.1.5+dfsg1", "LiveRestoreEnabled": True, "ClientInfo": {"Plugins": PLUGINS}}
REFUSED = "permission denied while trying to connect to the Docker daemon socket"
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"

Executable = Callable[..., None]


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executable:
    """Return a function that puts a command into a PATH that holds nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(engine, "FOLDERS", ())

    def write(name: str, output: str = "", error: str = "", code: int = 0) -> None:
        script = f"#!{sys.executable} -IS\nimport sys\nprint({output!r})\nprint({error!r}, file=sys.stderr)\nsys.exit({code})\n"
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)

    return write


def test_running_engine_is_described(executable: Executable) -> None:
    swarm = {"LocalNodeState": "active"}
    mirrors = {"Mirrors": ["http://user:secret@mirror.example/"]}
    info = {**RUNNING, "LoggingDriver": "local", "RegistryConfig": mirrors, "SecurityOptions": ["name=rootless"], "Swarm": swarm}
    executable("docker", json.dumps(info))
    found = engine.look()
    assert found["state"] == "running"
    assert (found["version"], found["compose"], found["buildx"]) == ("26.1.5+dfsg1", "v2.26.1-4", "0.13.1+ds1")
    assert (found["live_restore"], found["log_driver"], found["rootless"], found["swarm"]) == (True, "local", True, True)
    assert found["mirrors"] == ["http://***@mirror.example/"]
    assert found["summary"] == "Engine 26.1.5+dfsg1, Compose v2.26.1-4, Buildx 0.13.1+ds1"
    assert engine.judge(found, MINIMUM) == []


@pytest.mark.parametrize(
    ("client", "daemon", "state", "version"),
    [
        (None, None, "absent", ""),
        (DOWN, None, "absent", ""),
        (DOWN, "Docker version 26.1.5+dfsg1, build 411e817", "stopped", "26.1.5+dfsg1"),
        (None, "Docker version 27.0.1, build 1", "stopped", "27.0.1"),
        (REFUSED, "Docker version 27.0.1, build 1", "forbidden", ""),
    ],
)
def test_engine_that_does_not_answer(
    executable: Executable, client: str | None, daemon: str | None, state: str, version: str
) -> None:
    if client:
        executable("docker", json.dumps({"ServerErrors": [client], "ClientInfo": {"Plugins": PLUGINS}}), code=1)
    if daemon:
        executable("dockerd", daemon)
    found = engine.look()
    assert (found["state"], found["version"], found["reason"]) == (state, version, client or "")


def test_something_else_called_docker_is_no_engine(executable: Executable) -> None:
    executable("docker", "[1]", "what is that?", 125)
    assert engine.look()["state"] == "absent"
    assert engine.look()["summary"] == "No engine yet"
    assert engine.look()["reason"] == "what is that?"


def test_judgement_names_every_part_that_is_missing_or_too_old(executable: Executable) -> None:
    old = {"ServerVersion": "20.10.24+dfsg1", "ClientInfo": {"Plugins": [{"Name": "compose", "Version": "v2.23.3"}]}}
    executable("docker", json.dumps(old))
    assert engine.judge(engine.look(), MINIMUM) == [
        "Engine is 20.10.24+dfsg1; 25.0 or later is wanted",
        "Compose is v2.23.3; 2.24 or later is wanted",
        "Buildx is missing; 0.10 or later is wanted",
    ]


def test_engine_without_its_command_is_not_good(executable: Executable) -> None:
    executable("dockerd", "Docker version 27.0.1, build 1")
    assert engine.judge(engine.look(), MINIMUM) == ["the command docker is missing"]


def test_hanging_command_ends(tmp_path: Path) -> None:
    code, _, error = engine.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.1)
    assert (code, error) == (124, f"{sys.executable} did not answer within 0.1 s")
    assert engine.run([str(tmp_path / "none")])[0] == 127


@pytest.mark.parametrize(
    ("text", "expected"),
    [("v2.26.1-4", (2, 26, 1)), ("26.1.5+dfsg1", (26, 1, 5)), ("2.40.3+ds1-0ubuntu1~24.04.1", (2, 40, 3)), ("dev", ())],
)
def test_numbers_of_a_version(text: str, expected: tuple[int, ...]) -> None:
    assert engine.numbers(text) == expected


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "MARK": "a=b"})
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"):
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_pid_file_is_believed_only_when_the_process_is_the_one(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    file = tmp_path / "docker.pid"
    assert engine.process_id(str(file)) is None
    file.write_text(str(sleeper.pid))
    assert engine.process_id(str(file), "sleep") == sleeper.pid
    assert engine.process_id(str(file), "dockerd") is None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{sleeper.pid}/comm").read_text().strip() == "sleep"
    assert engine.process_id(str(file), "sleep") is None


def test_restart_uses_the_command_line_and_environment_of_the_process(sleeper: subprocess.Popen[bytes]) -> None:
    assert engine.arguments_of(sleeper.pid) == ["sleep", "60"]
    assert engine.environment_of(sleeper.pid)["MARK"] == "a=b"


def test_remains_of_a_killed_engine_are_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "docker.pid"
    stale.write_text(str(os.getpid()))
    monkeypatch.setattr(engine, "PID_FILE", str(stale))
    monkeypatch.setattr(engine_process, "CONTAINERD_PID_FILE", str(tmp_path / "none"))
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder, "containerd.sock")
        monkeypatch.setattr(engine_process, "CONTAINERD_SOCKET", str(address))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(address))
            server.listen()
            engine_process.clear_remains()
            assert address.is_socket()
        engine_process.clear_remains()
        assert not address.exists()
    assert not stale.exists()


def test_containers_that_outlive_an_engine_are_found_by_their_shims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "PROCESSES", str(tmp_path))
    shim = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", "c1", "-address", "/run/containerd.sock"]
    lines = [shim, [*shim[:2], "other", *shim[3:]], ["cat", *shim[1:]], [], shim[:4]]
    for number, line in enumerate(lines):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_bytes("".join(f"{part}\0" for part in line).encode())
    (tmp_path / "9").mkdir()
    assert engine_process.survivors() == ["c1"]


@pytest.fixture
def docker(executable: Executable, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that puts a docker into the PATH and returns the file of what it was told to start."""

    def write(states: list[str], code: int = 0) -> Path:
        started = tmp_path / "started"
        script = (
            f"#!{sys.executable} -IS\nimport sys\nif sys.argv[1] == 'start':\n"
            f"    open({str(started)!r}, 'w').write(' '.join(sys.argv[2:]))\n    print('port is taken', file=sys.stderr)\n"
            f"    sys.exit({code})\nprint({chr(10).join(states)!r})\n"
        )
        (tmp_path / "bin" / "docker").write_text(script)
        (tmp_path / "bin" / "docker").chmod(0o755)
        return started

    return write


def test_only_what_the_engine_stopped_unasked_is_started_again(docker: Callable[..., Path]) -> None:
    started = docker(
        ["c1 false unless-stopped", "c2 true unless-stopped", "c3 false no", "c4 false on-failure", "c5 false always"]
    )
    engine_process.start_again([])
    assert not started.exists()
    engine_process.start_again(["c1", "c2", "c3", "c4", "c5", "of-another-engine"])
    assert started.read_text() == "c1"


def test_nothing_is_started_where_all_containers_live_on(docker: Callable[..., Path]) -> None:
    started = docker(["c1 true unless-stopped"])
    engine_process.start_again(["c1"])
    assert not started.exists()


def test_container_that_does_not_start_again_is_told(docker: Callable[..., Path]) -> None:
    docker(["c1 false unless-stopped"], code=1)
    with pytest.raises(engine_process.ProcessError, match="not all containers that it stopped start again: port is taken"):
        engine_process.start_again(["c1"])


def test_dockerd_that_ends_at_its_start_is_told_with_its_last_words(
    executable: Executable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONTAINERD_PID_FILE", "CONTAINERD_SOCKET"):
        monkeypatch.setattr(engine_process, name, str(tmp_path / "none"))
    monkeypatch.setattr(engine, "PID_FILE", str(tmp_path / "none"))
    executable("docker", "{}", DOWN, 1)
    executable("dockerd", error="unknown log opt", code=3)
    dockerd = engine.which("dockerd")
    assert dockerd
    with pytest.raises(engine_process.ProcessError, match=r"ended with 3 at its start.*\n(.*\n)*unknown log opt"):
        engine_process.start([dockerd], engine.environment(), str(tmp_path / "docker.log"), 10)


@pytest.mark.parametrize(
    ("current", "wanted", "result"),
    [
        ({}, {"live-restore": True}, {"live-restore": True}),
        ({"bip": "10.0.0.1/24"}, {"live-restore": True}, {"bip": "10.0.0.1/24", "live-restore": True}),
        (
            {"log-driver": "local", "log-opts": {"compress": "no"}},
            {"log-driver": "local", "log-opts": {"max-file": "3"}},
            {"log-driver": "local", "log-opts": {"compress": "no", "max-file": "3"}},
        ),
        (
            {"log-driver": "json-file", "log-opts": {"labels": "a"}},
            {"log-driver": "local", "log-opts": {"max-file": "3"}},
            {"log-driver": "local", "log-opts": {"max-file": "3"}},
        ),
        ({"registry-mirrors": ["http://a"]}, {"registry-mirrors": ["http://b"]}, {"registry-mirrors": ["http://b"]}),
        ({"debug": True, "bip": "10.0.0.1/24"}, {"debug": None}, {"bip": "10.0.0.1/24"}),
        ({}, {"default-ulimits": {"nofile": {"Hard": 1, "Soft": None}}}, {"default-ulimits": {"nofile": {"Hard": 1}}}),
    ],
)
def test_merge(current: dict[str, Any], wanted: dict[str, Any], result: dict[str, Any]) -> None:
    before = json.dumps(current)
    assert engine.merge(current, wanted) == result
    assert json.dumps(current) == before


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ('{"log-opts": {"max-file": "3"}, "bip": "10.0.0.1/24"}', True),
        ('{"log-opts": {"max-file": "5"}}', False),
        ('{"log-opts": {"max-file": "3"}, "debug": true}', False),
        ("{,}", False),
        ('["text"]', False),
        ("", False),
        (None, False),
    ],
)
def test_settled_is_a_file_that_nothing_is_to_be_changed_in(tmp_path: Path, text: str | None, settled: bool) -> None:
    file = tmp_path / "daemon.json"
    if text is not None:
        file.write_text(text)
    wanted = {"log-opts": {"max-file": "3"}, "debug": None}
    assert engine.settled(file, wanted) is settled
    engine.former(file).write_text("{}")
    assert not engine.settled(file, wanted)


def test_no_file_holds_no_settings(tmp_path: Path) -> None:
    assert engine.settled(tmp_path / "none" / "daemon.json", {})


@pytest.mark.parametrize(
    ("former", "result", "expected"),
    [
        ({}, {}, "none"),
        ({"bip": "10.0.0.1/24"}, {"bip": "10.0.0.1/24"}, "none"),
        ({}, {"registry-mirrors": ["http://a"], "live-restore": True, "insecure-registries": ["a:5000"]}, "reload"),
        ({}, {"registry-mirrors": ["http://a"], "log-driver": "local"}, "restart"),
        ({"log-opts": {"max-file": "3"}}, {"log-opts": {"max-file": "5"}}, "restart"),
        # A reload leaves a mirror in use that has left the file.
        ({"registry-mirrors": ["http://a"]}, {}, "restart"),
        ({"max-concurrent-downloads": 2}, {}, "reload"),
    ],
)
def test_restart_only_when_a_setting_needs_it(former: dict[str, Any], result: dict[str, Any], expected: str) -> None:
    assert engine_settings.action(former, result) == expected


@pytest.mark.parametrize(
    ("arguments", "key", "flag"),
    [
        (["dockerd", "-H", "fd://"], "hosts", "host"),
        (["dockerd", "--host=fd://"], "hosts", "host"),
        (["dockerd", "--log-driver=journald"], "log-driver", "log-driver"),
        (["dockerd", "--log-opt", "max-size=1m"], "log-opts", "log-opt"),
        (["dockerd", "--insecure-registry", "a"], "insecure-registries", "insecure-registry"),
        (["dockerd", "--add-runtime", "a=b"], "runtimes", "add-runtime"),
    ],
)
def test_setting_that_is_a_flag_already_is_refused(arguments: list[str], key: str, flag: str) -> None:
    with pytest.raises(engine_settings.SettingsError, match=f"--{flag} and accepts {key} in one place only"):
        engine_settings.refuse_conflicts(arguments, [key], Path("daemon.json"))
    engine_settings.refuse_conflicts(["dockerd", "--debug", "log-driver"], [key], Path("daemon.json"))


@pytest.mark.parametrize(("text", "said"), [("{,}", "is not valid JSON"), ("[]", "holds a list, not an object")])
def test_file_that_is_no_settings_is_refused(text: str, said: str) -> None:
    with pytest.raises(engine_settings.SettingsError, match=f"^daemon.json {said}.*correct it or move it away"):
        engine_settings.parse(text, Path("daemon.json"))


def test_empty_file_is_no_settings() -> None:
    assert engine_settings.parse(" \n", Path("daemon.json")) == {}


class Host:
    """A daemon.json and the module that works on it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "etc" / "daemon.json"
        self.former = folder / "etc" / "daemon.json.former"
        self.tmpdir = str(folder)

    def module(self, check: bool, **params: Any) -> Any:
        return SimpleNamespace(params=params, check_mode=check, tmpdir=self.tmpdir, atomic_move=shutil.move)

    def present(self, settings: dict[str, Any], check: bool = False) -> dict[str, Any]:
        return engine_settings.ensure(self.module(check, settings=settings), self.path, self.former)

    def finish(self, state: str, check: bool = False) -> bool:
        return bool(engine_settings.finish(self.module(check, state=state), self.path, self.former)["changed"])

    def files(self) -> dict[str, str]:
        return {file.name: file.read_text() for file in sorted(self.path.parent.glob("*"))}


@pytest.fixture
def host(executable: Executable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(engine, "process_id", lambda *_: None)
    return Host(tmp_path)


def test_settings_are_written_once(host: Host) -> None:
    first = host.present({"live-restore": True})
    assert (first["changed"], first["action"], first["keys"]) == (True, "reload", ["live-restore"])
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o644
    assert not host.finish("applied")
    assert host.files() == {"daemon.json": '{\n  "live-restore": true\n}\n'}
    second = host.present({"live-restore": True})
    assert (second["changed"], second["action"]) == (False, "none")


def test_file_that_says_the_same_keeps_its_layout(host: Host) -> None:
    host.path.parent.mkdir()
    host.path.write_text('{"live-restore":true}')
    assert not host.present({"live-restore": True})["changed"]
    assert host.files() == {"daemon.json": '{"live-restore":true}'}


def test_check_mode_shows_and_touches_nothing(host: Host) -> None:
    shown = host.present({"proxies": {"http-proxy": "http://user:secret@proxy.example"}}, check=True)
    assert (shown["changed"], shown["action"]) == (True, "restart")
    assert "proxy.example" in shown["diff"]["after"]
    assert "secret" not in shown["diff"]["after"]
    assert not host.path.parent.exists()


def test_interrupted_run_is_taken_up_again(host: Host) -> None:
    host.path.parent.mkdir()
    host.path.write_text('{"debug": true}')
    host.present({"bip": "10.0.0.1/24"})
    again = host.present({"bip": "10.0.0.1/24", "live-restore": True})
    assert (again["changed"], again["action"], again["keys"]) == (True, "restart", ["bip", "live-restore"])
    once_more = host.present({"bip": "10.0.0.1/24", "live-restore": True})
    assert (once_more["changed"], once_more["action"]) == (True, "restart")
    host.finish("applied")
    assert host.present({"bip": "10.0.0.1/24", "live-restore": True})["action"] == "none"


def test_settings_can_be_taken_back(host: Host) -> None:
    host.path.parent.mkdir()
    host.path.write_text('{"debug": true}')
    host.present({"bip": "10.0.0.1/24"})
    assert host.finish("reverted", check=True)
    assert host.finish("reverted")
    assert host.files() == {"daemon.json": '{"debug": true}'}
    assert not host.finish("reverted")


def test_settings_that_had_no_file_are_taken_back_to_none(host: Host) -> None:
    host.present({"bip": "10.0.0.1/24"})
    assert host.finish("reverted")
    assert host.files() == {}


def test_file_that_dockerd_refuses_is_not_put_in_place(host: Host, executable: Executable) -> None:
    executable("dockerd", error="the following directives don't match any configuration option: nope", code=1)
    with pytest.raises(engine_settings.SettingsError, match=r"dockerd refuses it: the following directives.*: nope"):
        host.present({"nope": 1})
    assert host.files() == {}


def targets(*lines: str) -> str:
    return "\n".join(lines)


MAIN = "bookworm bookworm main http://mirror.example/debian/ /etc/apt/sources.list:1 Debian"
MAIN_UNFETCHED = "bookworm $(CODENAME) main http://mirror.example/debian/ /etc/apt/sources.list:1 $(ORIGIN)"
OTHER_UNFETCHED = "bookworm $(CODENAME) main http://other.example/ /etc/apt/sources.list.d/other.list:1 $(ORIGIN)"

DISC = "bookworm $(CODENAME) main cdrom://[Debian 12.5 - Official 20240210-11:28]/ /etc/apt/sources.list:1 Disc of mine"
FLAT = "./ $(CODENAME) $(COMPONENT) http://flat.example/x/ /etc/apt/sources.list.d/flat.list:2 $(ORIGIN)"


@pytest.mark.parametrize(
    ("text", "suite", "addresses"),
    [
        ("", "bookworm", []),
        (targets(MAIN, MAIN), "bookworm", ["http://mirror.example/debian/"]),
        (targets(MAIN), "bookworm-security", []),
        (targets(MAIN.replace(" main ", " contrib ")), "bookworm", []),
        (targets(MAIN.replace("bookworm ", "oldstable ", 1)), "bookworm", ["http://mirror.example/debian/"]),
        (targets(OTHER_UNFETCHED.replace("$(ORIGIN)", "Other")), "bookworm", []),
        (targets(MAIN_UNFETCHED), "bookworm", ["http://mirror.example/debian/"]),
        (targets(OTHER_UNFETCHED, MAIN, MAIN_UNFETCHED), "bookworm", ["http://mirror.example/debian/"]),
        (targets(DISC, "", MAIN), "bookworm", ["http://mirror.example/debian/"]),
        (targets(FLAT), "bookworm", []),
    ],
)
def test_mirrors_of_debian(text: str, suite: str, addresses: list[str]) -> None:
    assert [mirror["uri"] for mirror in debian_mirrors(text, suite)] == addresses


@pytest.mark.parametrize(
    "line",
    [
        "Reading package lists",
        MAIN.rpartition(" ")[0],
        MAIN.partition(" ")[2],
        MAIN.replace("http://", "/"),
        MAIN.replace("list:1", "list"),
    ],
)
def test_what_is_not_in_apts_format_is_refused(line: str) -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"was given the line .*expected the format .*\$\(ORIGIN\).*indextargets"
    ) as told:
        debian_mirrors(targets(MAIN, line), "bookworm")
    assert repr(line) in str(told.value)


def test_mirror_names_its_file() -> None:
    assert debian_mirrors(MAIN, "bookworm")[0]["file"] == "/etc/apt/sources.list"
