"""The templates give files that their own tools accept, for every kind of source and of settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.drydock.stack.plugins.module_utils import hiding
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"
PYPROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["fastapi", "uvicorn[standard]"]\n'
BUILT = PYPROJECT + '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
LOCK = 'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\n'

MATRIX = {
    "the sample application": {},
    "a requirements.txt that includes another": {
        "source": {"main.py": MAIN, "requirements.txt": "-r base.txt\n", "base.txt": "fastapi\n"}
    },
    "a requirements.txt with hashes": {"source": {"main.py": MAIN, "requirements.txt": "fastapi==1 --hash=sha256:0\n"}},
    "a pyproject.toml": {"source": {"main.py": MAIN, "pyproject.toml": PYPROJECT}},
    "a package with a build system": {
        "source": {"src/shop/main.py": MAIN, "src/shop/__init__.py": "", "pyproject.toml": BUILT},
        "fastapi_app": "shop.main:app",
    },
    "a lock": {"source": {"main.py": MAIN, "pyproject.toml": PYPROJECT, "uv.lock": LOCK}},
    "a folder inside the source": {
        "source": {"services/api/main.py": MAIN, "services/api/requirements.txt": "fastapi\n"},
        "fastapi_workdir": "services/api",
    },
    "packages, secrets and more requirements": {
        "fastapi_build_packages": ["gcc=4:14.2.0-1", "libpq-dev=17.6-0"],
        "fastapi_runtime_packages": ["libpq5=17.6-0"],
        "fastapi_build_secrets": {"netrc": "machine x", "uv.toml": "", "pip.conf": "[global]"},
        "fastapi_extra_requirements": ["uvicorn[standard]>=0.30"],
        "fastapi_image_exclude": ["docs/**"],
        "fastapi_image_include": [".env", "docs/terms.md"],
    },
    "the minimal image": {"fastapi_image_variant": "minimal"},
    "the minimal image with packages": {"fastapi_image_variant": "minimal", "fastapi_runtime_packages": ["libpq5=17.6-0"]},
    "no CA bundle": {"fastapi_build_ca_bundle": ""},
    "limits": {
        **{f"fastapi_{service}_memory_limit": "512m" for service in ("app", "database", "proxy")},
        **{f"fastapi_{service}_cpu_limit": "1.5" for service in ("app", "database", "proxy")},
    },
    "files that the front door serves": {
        "source": {"main.py": MAIN, "requirements.txt": "fastapi\n", "public/style.css": ""},
        "fastapi_static_dir": "public",
        "fastapi_static_url": "/files/v1",
    },
    "paths with a password": {
        "fastapi_basic_auth_paths": ["/docs", "/openapi.json"],
        "fastapi_basic_auth_users": {"me": "$2b$10$lUisYhjUXZ8eAW6Dy9T8HOc20vxvAemEDvvyUU5ojKgBb24oyN/b2"},
    },
    "a domain": {"fastapi_domain": "shop.example.com"},
    "a domain with its own certificates": {"fastapi_domain": "shop.example.com", "fastapi_tls": "internal"},
    "a domain without TLS": {"fastapi_domain": "shop.example.com", "fastapi_tls": "off"},
    "another port on all addresses of version six": {"fastapi_bind_address": "::", "fastapi_port": 8080},
    "PostgreSQL 18": {"fastapi_postgres_image": "postgres:18-trixie"},
    "values that are hard to quote": {
        "fastapi_env": {"A": "a\"b$c\\d\n'e", "B": "", "C": "#$${x}", "D": "ünï\u2028"},
        "fastapi_root": "/srv/my stacks/$shop",
    },
    "secrets that are files": {
        "fastapi_env": {"A": "a\"b$c\\d\r\n'e\n", "null": "", "y": "ünï\u2028", "database_password": "z"},
        "fastapi_secrets_as_files": True,
    },
    "secrets that are files, of a database elsewhere": {
        "fastapi_database_host": "db.example.com",
        "fastapi_secrets_as_files": True,
    },
    "an archive": {"fastapi_pitr_enabled": True, "fastapi_pitr_repository": "/mnt/the archive/$shop"},
    "a database elsewhere": {"fastapi_database_host": "db.example.com", "fastapi_database_port": 6432},
    "other names of the database settings": {
        "fastapi_database_env": {"url": "SQLALCHEMY_URL", "password": "PGPASSWORD"},
        "fastapi_database_url_scheme": "postgresql+asyncpg",
    },
}


@pytest.fixture(params=MATRIX.values(), ids=MATRIX.keys())
def release(request, render) -> Path:
    return render(**request.param)


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_compose_accepts_the_file(release, tools):
    code, said = run(tools["compose"], "--project-directory", release, "config", "--quiet")
    assert (code, said) == (0, ""), said


@pytest.mark.parametrize("version", ["caddy", "caddy_of_today"])
def test_caddy_accepts_the_file(release, tools, tmp_path, version):
    # A site that ends TLS stores what it makes; here that is a folder of the test's.
    code, said = run(
        "env",
        f"XDG_DATA_HOME={tmp_path}",
        tools[version],
        "validate",
        "--adapter",
        "caddyfile",
        "--config",
        release / "Caddyfile",
    )
    assert code == 0, said


def test_hadolint_accepts_the_dockerfile(release):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    code, said = run(hadolint, "--no-color", release / "Dockerfile")
    assert code == 0, said


@pytest.mark.parametrize("kind", ["a requirements.txt with hashes", "a requirements.txt that includes another", "a lock"])
def test_hashes_are_asked_for_where_there_are_any(render, kind):
    text = (render(**MATRIX[kind]) / "Dockerfile").read_text()
    assert ("uv pip install --require-hashes --requirements requirements.txt\n" in text) is (
        kind == "a requirements.txt with hashes"
    )


@pytest.mark.parametrize("name", ["null", "true", "no", "y"])
def test_a_name_stays_text(render, tools, name):
    release = render(fastapi_name=name)
    code, said = run(tools["compose"], "--project-directory", release, "config", "--quiet")
    assert (code, said) == (0, ""), said
    assert yaml.safe_load((release / "compose.yaml").read_text())["name"] == name


def test_nothing_is_left_to_fill_in(release):
    for file in (file for file in release.iterdir() if file.is_file()):
        text = file.read_text()
        assert not re.search("drydock-(release|slot|database)", text), file.name
        assert "__fastapi" not in text, file.name


def test_the_database_publishes_nothing(release):
    services = yaml.safe_load((release / "compose.yaml").read_text())["services"]
    assert "ports" not in services.get("db", {})
    assert services.get("db", {}).get("networks") in (None, ["app-network"])
    assert "ports" not in services["app-blue"]


def test_a_database_elsewhere_is_named_to_the_application_and_no_service(render):
    release = render(**MATRIX["a database elsewhere"])
    compose, env = yaml.safe_load((release / "compose.yaml").read_text()), (release / ".env").read_text()
    assert set(compose["services"]) == {"app-blue", "proxy"}
    assert "secrets" not in compose
    assert "volumes" not in compose
    assert 'DB_HOST="db.example.com"' in env
    assert 'DATABASE_URL="postgresql://app:s3cret@db.example.com:6432/app"' in env
    assert 'PGSSLMODE="require"' in env


def test_what_is_hidden_in_output_is_what_the_user_gave(render):
    given = {"A": "a\u2028b", "B": "=\\n\n", "C": ""}
    assert list(hiding.values((render(fastapi_env=given) / ".env").read_text())) == list(given.values())


def test_secrets_that_are_files_are_nowhere_else(render):
    given = {"TOKEN": "canary\r\n\n", "null": "", "database_password": "canary"}
    release = render(
        fastapi_env=given, fastapi_database_env={"host": "H", "password": "P", "url": "U"}, fastapi_secrets_as_files=True
    )
    files = {file.name: file.read_bytes().decode() for file in (release / "secrets").iterdir()}
    assert files == {**given, "P": "s3cret", "U": "postgresql://app:s3cret@db:5432/app"}
    compose = yaml.safe_load((release / "compose.yaml").read_text())
    app = compose["services"]["app-blue"]
    assert {one["target"]: compose["secrets"][one["source"]]["file"] for one in app["secrets"]} == {
        name: f"./secrets/{name}" for name in files
    }
    assert app["user"] == "10001:10001"
    env = (release / ".env").read_text()
    assert 'H="db"\n' in env and 'U_FILE="/run/secrets/U"\n' in env and 'TOKEN_FILE="/run/secrets/TOKEN"\n' in env
    for file in (file for file in release.iterdir() if file.is_file()):
        assert not re.search("canary|s3cret", file.read_text()), file.name
    # A path is no secret, and is told where a file is missing.
    assert list(hiding.values(env)) == []


def test_secrets_that_are_files_want_templates_that_know_of_them(render, tmp_path):
    templates = tmp_path / "templates"
    shutil.copytree(Path(__file__).parents[2] / "templates", templates)
    text = (templates / "compose.yaml.j2").read_text()
    (templates / "compose.yaml.j2").write_text(text.replace("__fastapi_secrets", "[]").replace("[].items()", "[]"))
    with pytest.raises(SourceError, match=r"compose.yaml.j2 of fastapi_templates does not say __fastapi_secrets, .*; take"):
        render(fastapi_templates=str(templates), fastapi_secrets_as_files=True)


def test_what_is_secret_is_denied_last(render):
    release = render(fastapi_image_include=[".env", "keys/server.key"])
    lines = (release / ".dockerignore").read_text().splitlines()
    for never in ("source/**/.env*", "source/**/*.key", "source/**/.git"):
        assert lines.index(never) > lines.index("!source/keys/server.key")


def test_dependencies_come_before_the_code(render):
    dockerfile = (render() / "Dockerfile").read_text()
    assert dockerfile.index("COPY --from=builder /opt/venv") < dockerfile.index("COPY --from=code /source")
    assert re.search(r"type=bind,source=source/requirements.txt", dockerfile)
    assert "USER 10001:10001" in dockerfile


@pytest.mark.parametrize(
    ("image", "mount"),
    [("postgres:17-trixie", "/var/lib/postgresql/data"), ("registry.example:5000/postgres:18.1", "/var/lib/postgresql")],
)
def test_the_data_is_mounted_where_the_version_keeps_it(render, image, mount):
    services = yaml.safe_load((render(fastapi_postgres_image=image) / "compose.yaml").read_text())["services"]
    assert services["db"]["volumes"] == [f"postgres_data:{mount}"]


@pytest.mark.parametrize(("image", "made"), [("postgres:17-trixie", "builtin"), ("postgres:16", "libc")])
def test_a_new_database_is_made_with_checksums_and_a_named_locale(render, image, made):
    services = yaml.safe_load((render(fastapi_postgres_image=image) / "compose.yaml").read_text())["services"]
    arguments = services["db"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    assert {"--data-checksums", "--encoding=UTF8", "--auth-host=scram-sha-256", f"--locale-provider={made}"} <= set(arguments)


def test_a_database_that_is_there_keeps_what_it_was_made_with(render):
    release = render(services={"db": {"initdb": "--data-checksums"}})
    services = yaml.safe_load((release / "compose.yaml").read_text())["services"]
    assert services["db"]["environment"]["POSTGRES_INITDB_ARGS"] == "--data-checksums"


@pytest.mark.parametrize(
    ("host", "superuser"),
    [
        ({}, "postgres"),
        # Data without a container, as a stack that was removed leaves it.
        ({"major": "17"}, "shop"),
        ({"services": {"db": {"superuser": "shop"}}, "major": "17"}, "shop"),
        ({"services": {"db": {"superuser": "postgres"}}, "major": "17"}, "postgres"),
    ],
)
def test_a_new_database_has_a_superuser_of_its_own_and_one_that_is_there_is_not_made_anew(render, host, superuser):
    archived = {"fastapi_name": "shop", "fastapi_pitr_enabled": True}
    database = yaml.safe_load((render(**host, **archived) / "compose.yaml").read_text())["services"]["db"]
    assert database["environment"]["POSTGRES_USER"] == superuser
    assert database["environment"]["PGBACKREST_PG1_USER"] == superuser
    assert "--username=shop" in database["healthcheck"]["test"]


def test_the_same_settings_give_the_same_files(render, tmp_path):
    def files():
        return {file.name: file.read_bytes() for file in render().rglob("*") if file.is_file()}

    one = files()
    shutil.rmtree(tmp_path / "release")
    assert files() == one


def test_the_database_is_tuned_to_its_limits_and_as_the_user_says(render):
    settings = {"fastapi_database_memory_limit": "1g", "fastapi_workers": 4, "fastapi_postgres_settings": {"jit": True}}
    database = yaml.safe_load((render(**settings) / "compose.yaml").read_text())["services"]["db"]
    flags = dict(word.split("=") for word in database["command"][2::2])
    assert database["command"][:2] == ["postgres", "-c"] and set(database["command"][1::2]) == {"-c"}
    assert (flags["shared_buffers"], flags["max_connections"], flags["jit"]) == ("256MB", "150", "on")
    assert database["shm_size"] == 256 * 1024**2


def test_the_minimal_image_is_made_from_nothing_but_what_is_gathered(render):
    dockerfile = (render(fastapi_image_variant="minimal") / "Dockerfile").read_text()
    final = dockerfile[dockerfile.index("\nFROM scratch\n") :]
    assert "COPY --from=runtime /opt/runtime /" in final
    # There is no shell to run anything with.
    assert [line for line in final.splitlines() if line.startswith("RUN ") and not line.startswith("RUN [")] == []


def test_a_database_is_archived_where_that_is_asked_for(render):
    """The image is the one that the host makes, and nothing of the archive stands in the file of a stack without one."""
    release = render(fastapi_pitr_enabled=True, fastapi_name="shop")
    database = yaml.safe_load((release / "compose.yaml").read_text())["services"]["db"]
    assert database["image"].startswith("shop_postgres:")
    assert database["pull_policy"] == "never"
    assert database["environment"]["PGBACKREST_STANZA"] == "shop"
    assert "archive_command=pgbackrest archive-push %p" in database["command"]
    assert {volume["target"]: volume.get("read_only") for volume in database["volumes"] if isinstance(volume, dict)} == {
        "/etc/pgbackrest": True,
        "/var/lib/pgbackrest": None,
    }


def test_a_database_that_is_not_archived_knows_nothing_of_it(render):
    assert "pgbackrest" not in (render() / "compose.yaml").read_text()


@pytest.mark.parametrize("target", ["../../../../data/caddy/certificates/x/shop.key", "../main.py", ".", "gone.css"])
def test_a_link_that_leaves_what_the_front_door_serves_is_refused(render, tmp_path, target):
    static = tmp_path / "source" / "a" / "b" / "c" / "static"
    static.mkdir(parents=True)
    (static / "a.css").touch()
    (static / "link").symlink_to(target)
    source = {"a/b/c/main.py": MAIN, "a/b/c/requirements.txt": "fastapi\n"}
    with pytest.raises(SourceError, match=f"^fastapi_static_dir holds the symlink link to {re.escape(target)}, which is no file"):
        render(source=source, fastapi_workdir="a/b/c", fastapi_app="main:app", fastapi_static_dir="static")
