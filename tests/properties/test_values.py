"""Any value of a public variable is refused in words, or arrives in the files of a release byte for byte."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.template import trust_as_template
from ansible_collections.drydock.stack.plugins.action.validate import missing_files
from ansible_collections.drydock.stack.plugins.module_utils import release
from ansible_collections.drydock.stack.plugins.module_utils import settings as rules
from hypothesis import example, given
from hypothesis import strategies as st

HARD = [
    *("", " ", "a b", "a\nb", "a\r\n", "\t", "\0", "a\0b", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe"),
    *(
        "{{ 1 + 1 }}",
        "{% raw %}",
        "{# x #}",
        "a{{",
        "}}",
        "{{ lookup('pipe', 'id') }}",
        "${HOME}",
        "$HOME",
        "$$",
        "$(id)",
        "`id`",
    ),
    *(
        "'",
        '"',
        "\\",
        "\\n",
        "it's",
        '"; id; "',
        "a\\",
        "'" * 3,
        "#",
        "a #b",
        "!x",
        "&a",
        "*a",
        "- a",
        "a: b",
        "<<EOF",
        "| x",
        ">",
    ),
    *("\u202eabc", "\u200f", "é", "e\u0301", "\ufb01", "İ", "😀", "x" * 10_000, "é" * 10_000, "{" * 10_000, "\ud800", "a\udfff"),
    *("yes", "no", "null", "true", "0123", "0o17", "1e3", "0x1f", ".inf", ".nan", "2026-11-23", "1:30", "=", "<<"),
    *(
        "..",
        ".",
        "../..",
        "/",
        "//",
        "/a/../b",
        "a/../../b",
        "~",
        "~root",
        "~nobody-here",
        "/opt/a b/c",
        "-rf",
        "--help",
        "C:\\x",
    ),
    *(*release.TOKENS, "import", "https://me:hunter2@x.example/a", "EOF", "a,b", "%s", "%(here)s", "[a]", "(a)", "a=b", "a@b:c"),
]
SYNTAX = st.text(st.sampled_from("$\\\"'`{}()#=:-%&*!?|>@/., \t\r\n\0\x7f\x85\u2028\ufeffab0é\u202e😀"), max_size=20)
TEXT = st.sampled_from(HARD) | SYNTAX | st.text(st.characters(), max_size=20)
NUMBER = st.sampled_from([0, 1, -1, 83, 2**31, 2**63, 0o644, 1.5, float("nan"), float("inf")]) | st.integers() | st.floats()
LONG_NUMBER = st.sampled_from([400, 5000]).map(lambda digits: 10**digits)
LEAF = st.none() | st.booleans() | NUMBER | TEXT | LONG_NUMBER
KEY = st.sampled_from(["A", "host", "netrc", "last", ""]) | LEAF
ANYTHING = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(KEY, LEAF, max_size=3)
# The variable, what was found, and after a semicolon what to do.
HOUSE = re.compile(r"fastapi_[a-z_]+.* (is|has|holds|ends) .+(; |, ).+[.?`]", re.DOTALL)


def literal(pattern: re.Pattern[str] | str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


VARIABLE = st.sampled_from(["a", "A", "_", "A1", "PGUSER", "HOME", "http_proxy", "DOCKER_HOST"]) | literal(rules.VARIABLE)
IMAGE = st.sampled_from(["python", "reg.example:5000/a_b/c-d__e.f:T_1.x-y", f"caddy:2@sha256:{'0a' * 32}"]) | literal(rules.IMAGE)
PACKAGES = st.lists(literal(rules.PACKAGE), max_size=2)
MEMORY = st.sampled_from(["", "6m", "1.5g", "8191p", "512MiB"]) | st.integers(6, 10**6).map(lambda number: f"{number}m")
CPUS = st.sampled_from(["", "0.5", 0.01, "999999999", 2]) | st.floats(0.01, 10**8)
POSTGRES = [
    f"{image}{digest}" for image in ("postgres:17-trixie", "reg.example/x/postgres:18") for digest in ("", "@sha256:" + "0" * 64)
]
BODY = st.sampled_from(["1B", "0.5kB", "8191TiB", "9223372TB", "1.5GB"]) | literal(rules.BODY_SIZE)
SERVICES = ("app", "database", "proxy")
# What is taken often enough, for the variables whose values stand in the files of a release.
TAKEN: dict[str, st.SearchStrategy[Any]] = {
    "fastapi_name": st.sampled_from(["null", "true", "no", "y", "on", "a-b"]) | literal(rules.NAME),
    "fastapi_root": TEXT.map(lambda text: f"/srv/{text}"),
    "fastapi_workdir": TEXT,
    "fastapi_app": st.sampled_from(["main:app", "a.b:c.d", "_x:Y1"]) | TEXT,
    "fastapi_env": st.dictionaries(VARIABLE, TEXT, max_size=8),
    "fastapi_secrets_as_files": st.booleans(),
    "fastapi_database_password": TEXT,
    "fastapi_readiness_path": literal(rules.READINESS_PATH),
    "fastapi_healthy_timeout": st.integers(1, 86400) | st.just("60"),
    "fastapi_slot_header": st.just("") | literal(rules.HEADER),
    "fastapi_database_name": literal(rules.IDENTIFIER),
    "fastapi_database_user": literal(rules.IDENTIFIER),
    "fastapi_database_migrator_user": st.just("") | literal(rules.IDENTIFIER),
    "fastapi_database_migrator_password": TEXT,
    "fastapi_database_env": st.dictionaries(st.sampled_from(rules.DATABASE_SETTINGS), VARIABLE, max_size=7),
    "fastapi_database_url_scheme": st.sampled_from(["postgres", "postgresql+asyncpg"]),
    "fastapi_database_host": st.just("") | st.sampled_from(["db.example.com", "2001:db8::1", "10.0.0.5"]),
    "fastapi_database_port": st.integers(1, 65535) | st.just("6432"),
    "fastapi_postgres_settings": st.dictionaries(literal(rules.POSTGRES_SETTING), TEXT | NUMBER | st.booleans(), max_size=4),
    "fastapi_postgres_image": st.sampled_from(POSTGRES),
    "fastapi_bind_address": st.ip_addresses().map(str),
    "fastapi_port": st.integers(1, 65535) | st.just("8001"),
    "fastapi_domain": st.just("") | st.just("import") | st.lists(literal(rules.LABEL), min_size=1, max_size=3).map(".".join),
    "fastapi_tls": st.sampled_from(["auto", "internal", "off"]),
    "fastapi_static_dir": st.just("") | TEXT,
    "fastapi_static_url": literal(rules.STATIC_URL),
    "fastapi_request_body_limit": BODY,
    "fastapi_basic_auth_paths": st.lists(literal(rules.LOCKED_PATH), max_size=3),
    "fastapi_basic_auth_users": st.dictionaries(literal(rules.USER), literal(rules.PASSWORD_HASH), max_size=3),
    "fastapi_python_image": IMAGE,
    "fastapi_caddy_image": IMAGE,
    "fastapi_image_variant": st.sampled_from(["slim", "minimal"]),
    "fastapi_build_packages": PACKAGES,
    "fastapi_runtime_packages": PACKAGES,
    "fastapi_extra_requirements": st.lists(TEXT, max_size=3),
    "fastapi_image_exclude": st.lists(TEXT, max_size=3),
    "fastapi_image_include": st.lists(TEXT, max_size=3),
    "fastapi_build_ca_bundle": st.just("") | TEXT.map(lambda text: f"/{text}"),
    "fastapi_log_max_size": literal(rules.LOG_SIZE),
    "fastapi_log_max_file": st.integers(1, 1000) | st.just("7"),
    **{f"fastapi_{service}_memory_limit": MEMORY for service in SERVICES},
    **{f"fastapi_{service}_cpu_limit": CPUS for service in SERVICES},
    **{f"fastapi_{service}_pids_limit": st.integers(1, 2**22) for service in SERVICES},
}
GIVEN = st.fixed_dictionaries({}, optional=TAKEN)


# --- Refused in words, or taken ---


@pytest.mark.parametrize("name", rules.RULES)
def test_any_value_is_refused_in_words_or_taken(name: str, values, steady, tally: Counter[str]) -> None:
    tally["properties"] += 1

    @steady(20)
    @given(ANYTHING | TAKEN.get(name, TEXT), st.booleans())
    def holds(value: Any, trusted: bool) -> None:
        tally["examples"] += 1
        # Of the user's own files, and so a template where it looks like one; else as data.
        given_value = trust_as_template(value) if trusted and isinstance(value, str) else value
        try:
            found = values({name: given_value})
            said = rules.problems(found) or missing_files(found)
        except AnsibleError as error:
            # A template that fails is Ansible's to tell, also one of a default that a number without an end stands in.
            assert trusted or re.search("!unsafe|limit .* for integer string conversion", str(error))
            return
        tally["refused" if said else "taken"] += 1
        for message in said:
            assert HOUSE.fullmatch(message), message
            assert message.isprintable() and len(message) < 1600
            assert "hunter2" not in message

    holds()


# --- Byte for byte ---


def dotenv(text: str) -> dict[str, str]:
    """Read a .env whose values are all between double quotes, by what Compose's documentation says of them."""
    escapes = {"n": "\n", "r": "\r"}
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        if text[place] in "#\n":
            place = text.index("\n", place) + 1
            continue
        equals = text.index("=", place)
        name, place, value = text[place:equals], equals + 2, ""
        assert text[equals + 1] == '"' and name not in found
        while text[place] != '"':
            assert text[place] not in "$\n", "it is interpolated, or ends here"
            if text[place] == "\\":
                place += 1
                value += escapes.get(text[place], text[place])
            else:
                value += text[place]
            place += 1
        found[name], place = value, place + 2
        assert text[place - 1] == "\n"
    return found


def uninterpolated(value: Any) -> Any:
    """Undo the doubling of `$`; a single one is a variable of whoever starts the stack."""
    if isinstance(value, str):
        assert "$" not in value.replace("$$", ""), value
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [uninterpolated(item) for item in value]
    if isinstance(value, dict):
        return {key: uninterpolated(item) for key, item in value.items()}
    return value


def walk(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from walk(part)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: each instruction with its text, or that of its here-document, lines joined."""
    lines, found = dockerfile.split("\n"), []
    while lines:
        line = lines.pop(0)
        if line.startswith("#") or not line.strip():
            continue
        while line.endswith("\\"):
            line = line[:-1] + lines.pop(0)
        name, _, rest = line.partition(" ")
        if name == "COPY" and "<<'EOF'" in rest:
            end = lines.index("EOF")
            rest = "\n".join(lines[:end])
            del lines[: end + 1]
        found.append((name, rest))
    return found


def check_compose(text: str, public: Mapping[str, Any]) -> None:
    tree = uninterpolated(yaml.safe_load(text))
    services, own = tree["services"], not public["fastapi_database_host"]
    assert tree["name"] == public["fastapi_name"]
    assert set(services) == {"app-blue", "proxy", *(["db"] if own else [])}
    app, proxy = services["app-blue"], services["proxy"]
    assert app["image"].startswith(f"{public['fastapi_name']}:")
    assert proxy["image"] == public["fastapi_caddy_image"]
    assert proxy["volumes"][0]["source"] == f"{public['fastapi_root']}/proxy"
    assert app["healthcheck"]["start_period"] == f"{public['fastapi_healthy_timeout']}s"
    options = {"max-size": public["fastapi_log_max_size"], "max-file": str(public["fastapi_log_max_file"])}
    assert app["logging"]["options"] == options
    for service, key in (("app", "app-blue"), ("proxy", "proxy"), *([("database", "db")] if own else [])):
        cpus = public[f"fastapi_{service}_cpu_limit"]
        # Three quarters of the 8 GB of the host where nothing is said.
        assert services[key]["mem_limit"] == (public[f"fastapi_{service}_memory_limit"] or 6 * 1024**3)
        assert services[key].get("cpus", "") == (float(cpus) if cpus != "" else "")
        assert services[key]["pids_limit"] == public[f"fastapi_{service}_pids_limit"]
    if not public["fastapi_domain"]:
        address = public["fastapi_bind_address"]
        assert proxy["ports"] == [f"{f'[{address}]' if ':' in address else address}:{public['fastapi_port']}:8000"]
    if own:
        db, name, user = services["db"], public["fastapi_database_name"], public["fastapi_database_user"]
        assert (db["environment"]["POSTGRES_DB"], db["environment"]["POSTGRES_USER"]) == (name, "postgres")
        assert db["healthcheck"]["test"][-2:] == [f"--username={user}", f"--dbname={name}"]
        assert tree["volumes"]["postgres_data"]["labels"] == {"drydock.database": name, "drydock.user": user}
        assert tree["secrets"]["database_password"]["file"] == f"{public['fastapi_root']}/secrets/database_password"
        assert db["image"] == public["fastapi_postgres_image"]
        for setting, value in public["fastapi_postgres_settings"].items():
            plain = ("on" if value else "off") if isinstance(value, bool) else str(value)
            assert f"{setting}={plain}" in db["command"]


def check_secrets(secrets: Mapping[str, str], env: Mapping[str, str], compose: str, public: Mapping[str, Any]) -> None:
    """All that is secret is a file, which the application's container has, and nothing else of it knows more than the path."""
    database = public["fastapi_database_env"]
    wanted = {*public["fastapi_env"], *(database[part] for part in ("password", "url") if part in database)}
    assert set(secrets) == (wanted if public["fastapi_secrets_as_files"] else set())
    assert {name: env.get(f"{name}_FILE") for name in secrets} == {name: f"/run/secrets/{name}" for name in secrets}
    assert secrets.keys().isdisjoint(env)
    tree = uninterpolated(yaml.safe_load(compose))
    mounted = {found["target"]: tree["secrets"][found["source"]] for found in tree["services"]["app-blue"].get("secrets", [])}
    assert mounted == {name: {"file": f"./secrets/{name}"} for name in secrets}


def check_env(env: Mapping[str, str], password: str, public: Mapping[str, Any]) -> None:
    assert env.items() >= public["fastapi_env"].items()
    external = public["fastapi_database_host"]
    wanted = {
        **{"host": external or "db", "port": str(public["fastapi_database_port"]) if external else "5432", "password": password},
        **{"name": public["fastapi_database_name"], "user": public["fastapi_database_user"]},
    }
    for part, variable in public["fastapi_database_env"].items():
        if part in wanted:
            assert env[variable] == wanted[part]
        elif part == "url":
            url = urlsplit(env[variable])
            assert (url.scheme, url.hostname) == (public["fastapi_database_url_scheme"], wanted["host"])
            found = [unquote(text or "") for text in (url.username, url.password, url.path[1:])]
            assert found == [wanted["user"], password, wanted["name"]]


INSTRUCTIONS = {"FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}


def check_dockerfile(text: str, workdir: str, public: Mapping[str, Any]) -> None:
    found = instructions(text)
    assert {name for name, _ in found} == INSTRUCTIONS
    assert [rest for name, rest in found if name == "USER"] == ["10001:10001"]
    stages = [rest.partition(" AS ") for name, rest in found if name == "FROM"]
    bases, names = ({stage[part] for stage in stages} for part in (0, 2))
    assert bases - names - {"scratch"} == {public["fastapi_python_image"]}
    folder = "/app" if workdir == "." else f"/app/{workdir}"
    place = [rest for name, rest in found if name == "WORKDIR"][-1]
    assert place == folder and not re.search("[\"'$\\\\]", place)
    command = json.loads(found[-1][1])
    assert (command[1], command[3]) == (public["fastapi_app"], folder)
    runs = [rest for name, rest in found if name == "RUN"]
    for key in ("build", "runtime"):
        names = public[f"fastapi_{key}_packages"]
        assert not names or any(run.split()[-len(names) :] == names for run in runs)
    asked = [run.partition("&& uv pip install ")[2] for run in runs if "requirements.txt" in run]
    assert [shlex.split(words) for words in asked] == [public["fastapi_extra_requirements"]]
    (health,) = [rest for name, rest in found if name == "COPY" and "sendall" in rest]
    sent = [
        node.value for node in ast.walk(ast.parse(health)) if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    ]
    host = public["fastapi_domain"] or "localhost"
    assert f"GET {public['fastapi_readiness_path']} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode() in sent


def check_ignored(text: str, public: Mapping[str, Any]) -> None:
    lines = text.split("\n")
    start = lines.index("!source/**") + 1
    assert lines[start : lines.index("", start)] == [
        *(f"source/{pattern}" for pattern in public["fastapi_image_exclude"]),
        *(f"!source/{pattern}" for pattern in public["fastapi_image_include"]),
    ]


def check_caddy(adapted: Any, public: Mapping[str, Any]) -> None:
    nodes = list(walk(adapted))
    (limit,) = {node["max_size"] for node in nodes if node.get("handler") == "request_body"}
    assert 1 <= limit < 2**63
    hosts = {host.lower() for node in nodes if isinstance(node.get("host"), list) for host in node["host"]}
    assert hosts == {name.lower() for name in [public["fastapi_domain"]] if name}
    headers = [node["response"].get("set", {}) for node in nodes if node.get("handler") == "headers" and "response" in node]
    slots = {name.lower() for header in headers for name, to in header.items() if to in (["blue"], ["green"])}
    assert slots == {name.lower() for name in [public["fastapi_slot_header"]] if name}
    accounts = [node["accounts"] for node in nodes if "accounts" in node]
    users = public["fastapi_basic_auth_users"]
    assert {account["username"]: account["password"] for found in accounts for account in found} == users
    assert len([node for node in nodes if "delete" in node and "Authorization" in node["delete"]]) == bool(users)
    url, served = public["fastapi_static_url"], bool(public["fastapi_static_dir"])
    assert {node["strip_path_prefix"] for node in nodes if "strip_path_prefix" in node} == ({url} if served else set())
    patterns = [node["path_regexp"]["pattern"] for node in nodes if "path_regexp" in node]
    assert len(patterns) == 2 * served
    assert all(re.fullmatch(pattern, f"{url}/a") and not re.match(pattern, f"{url}x/a") for pattern in patterns)
    assert {node["dial"] for node in nodes if "dial" in node} == {"app-green:8000", "app-blue:8000"}


def told(folder: Path, *command: Any) -> Any:
    """Return what a tool says as JSON; the variables of whoever calls it are not to be seen in it."""
    environment = {**os.environ, "HOME": str(folder), "a": "from the shell", "_": "from the shell"}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def good(values: Callable[..., Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that the validation takes, of mappings and lists those of their parts."""

    def fine(name: str, value: Any) -> bool:
        return not rules.problems({name: value})

    found = {}
    for name, value in drawn.items():
        part = value
        if isinstance(value, dict) and not fine(name, value):
            part = {key: inner for key, inner in value.items() if fine(name, {key: inner})}
        elif isinstance(value, list):
            part = [inner for inner in value if fine(name, [inner])]
        if fine(name, part):
            found[name] = part
    together = ("tls", "domain", "database_env", "postgres_settings", "basic_auth_paths", "basic_auth_users", "secrets_as_files")
    if rules.problems(values(found)):
        found = {name: value for name, value in found.items() if name.removeprefix("fastapi_") not in together}
    return found


def filled_in(folder: Path, files: Mapping[str, str], password: str) -> dict[str, str]:
    """Return the secrets of a release that are files, filled in as on its host, in a folder of the test's."""
    unfilled = folder / release.UNFILLED / release.SECRETS
    shutil.rmtree(unfilled, ignore_errors=True)
    unfilled.mkdir(parents=True)
    for path, text in files.items():
        if path.startswith(f"{release.UNFILLED}/{release.SECRETS}/"):
            (folder / path).write_bytes(text.encode())
    found = release.filled_secrets(folder, password)
    return {path.removeprefix(f"{release.SECRETS}/"): data.decode() for path, data in found.items()}


def test_what_is_taken_arrives_byte_for_byte(renderer, values, tools, steady, tally: Counter[str], tmp_path: Path) -> None:
    tally["properties"] += 1

    @steady(30)
    @example({"fastapi_env": {f"V{number}": text for number, text in enumerate(HARD)}})
    @example({"fastapi_env": {f"V{number}": text for number, text in enumerate(HARD)}, "fastapi_secrets_as_files": True})
    @given(GIVEN)
    def arrives(drawn: dict[str, Any]) -> None:
        taken = good(values, drawn)
        assert rules.problems(values(taken)) == []
        tally["examples"] += 1
        tally["values in files"] += sum(len(value) if isinstance(value, (dict, list)) else 1 for value in taken.values())
        public = values({**dict.fromkeys(("fastapi_static_dir", "fastapi_domain", "fastapi_database_host"), ""), **taken})
        password = taken.get("fastapi_database_password", "s3cret")
        rendered = renderer(taken)
        files = rendered.files()
        compose = files["unfilled/compose.yaml"].replace(release.SLOT_TOKEN, "blue").replace(release.VOLUME_TOKEN, "shop_data")
        text = release.fill_password(files["unfilled/.env"], password)
        env = dotenv(text)
        secrets = filled_in(tmp_path, files, password)
        check_secrets(secrets, env, compose, public)
        check_env({**env, **secrets}, password, public)
        check_compose(compose, public)
        check_dockerfile(files["Dockerfile"], rendered.source.workdir, public)
        check_ignored(files[".dockerignore"], public)
        for name, content in {".env": text, "compose.yaml": compose, "Caddyfile": files["Caddyfile"]}.items():
            (tmp_path / name).write_bytes(content.encode())
        read = told(tmp_path, tools["compose"], "--project-directory", tmp_path, "config", "--format", "json")
        found = {name: value.replace("$$", "$") for name, value in read["services"]["app-blue"]["environment"].items()}
        assert found.pop("FORWARDED_ALLOW_IPS") == "172.30.0.14"
        assert found == env
        check_caddy(told(tmp_path, tools["caddy"], "adapt", "--adapter", "caddyfile", "--config", "Caddyfile"), public)

    arrives()
