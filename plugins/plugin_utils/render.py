# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The files of a release, rendered on the controller from the templates and the role's variables."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.template import trust_as_template
from ansible_collections.drydock.stack.plugins.module_utils.archive import (
    container_environment,
    image_of,
    server_settings,
)
from ansible_collections.drydock.stack.plugins.module_utils.bundle import Entry, bundle_hash
from ansible_collections.drydock.stack.plugins.module_utils.dumps import SUPERUSER, initdb_arguments
from ansible_collections.drydock.stack.plugins.module_utils.quoting import database_url
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    APP_UID,
    PASSWORD_IN_URL_TOKEN,
    PASSWORD_TOKEN,
    PROXY_UID,
    RELEASE_TOKEN,
    SECRETS,
    SECRETS_IN_CONTAINER,
    SLOT_TOKEN,
    STATIC,
    UNFILLED,
    VOLUME_TOKEN,
    leads_elsewhere,
)
from ansible_collections.drydock.stack.plugins.module_utils.settings import SECRET_SETTINGS, postgres_major, postgres_mount
from ansible_collections.drydock.stack.plugins.module_utils.source import NEVER, Source, SourceError, read_source
from ansible_collections.drydock.stack.plugins.module_utils.tuning import (
    bytes_of,
    connected,
    connections,
    memory_limit,
    postgres,
    quantised,
    shm_size,
    workers,
)
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings

ID_LENGTH = 12
MIGRATE = ["alembic", "upgrade", "head"]


class Renderer:
    """Renders a stack's files for one host.

    ``variables`` are the host's, ``settings`` the role's own among them with their values, ``host`` is what the module
    stack_info returned, ``source`` what read_source did. Files are ``str``; their bytes are UTF-8.
    """

    def __init__(self, templar, variables: Mapping[str, Any], settings: Mapping[str, Any], host: Mapping, source: Source):
        self.templar = templar
        self.settings = settings
        self.source = source
        self.folder = Path(settings["fastapi_templates"])
        # A user's own Dockerfile is built as it is at home, with the source as its context.
        self.own_dockerfile = settings.get("fastapi_dockerfile") or ""
        self.environment, self.secrets = application(settings, host["engine"])
        self.variables = {
            "ansible_managed": "Ansible managed",
            **variables,
            "__fastapi_source": asdict(source),
            "__fastapi_never": list(NEVER),
            "__fastapi_front": dict(host["front"]),
            "__fastapi_own_database": not settings.get("fastapi_database_host"),
            "__fastapi_database_image": database_image(settings),
            "__fastapi_superuser": superuser(settings, host),
            "__fastapi_archive": archive_environment(settings, superuser(settings, host)),
            "__fastapi_postgres_mount": postgres_mount(settings["fastapi_postgres_image"]),
            # They count on an empty volume alone, and others would make the container of a database anew for nothing.
            "__fastapi_initdb_arguments": host["services"].get("db", {}).get("initdb")
            or initdb_arguments(postgres_major(settings["fastapi_postgres_image"])),
            "__fastapi_postgres_command": postgres_command(settings, host["engine"]),
            "__fastapi_app_uid": APP_UID,
            "__fastapi_proxy_uid": PROXY_UID,
            "__fastapi_secrets": {name: f"./{SECRETS}/{name}" for name in self.secrets},
            "__fastapi_memory_limit": memory_limit(host["engine"]["memory"]),
            "__fastapi_shm_size": shm_size(database_memory(settings, host["engine"])),
            "__fastapi_release_id": RELEASE_TOKEN,
            "__fastapi_volume": VOLUME_TOKEN,
            "__fastapi_context": "" if self.own_dockerfile else "source/",
        }

    def render(self, template: str, **more: Any) -> str:
        text = trust_as_template((self.folder / template).read_text(encoding="utf-8"))
        templar = self.templar.copy_with_new_env(searchpath=[str(self.folder)], available_variables={**self.variables, **more})
        return str(templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": False}))

    @property
    def ignore_file(self) -> str:
        """The name under which BuildKit finds the patterns: with the context, or beside a Dockerfile outside of it."""
        return "Dockerfile.dockerignore" if self.own_dockerfile else ".dockerignore"

    def dockerfile(self) -> str:
        if self.own_dockerfile:
            return Path(self.own_dockerfile).expanduser().read_text(encoding="utf-8")
        return self.render("Dockerfile.j2")

    def files(self) -> dict[str, str]:
        """Return the files of a release by path; release, slot and password stand in them as tokens; raises SourceError."""
        files = {
            "Dockerfile": self.dockerfile(),
            self.ignore_file: self.render("dockerignore.j2"),
            "Caddyfile": self.render("Caddyfile.j2"),
            f"{UNFILLED}/.env": self.render("env.j2", __fastapi_environment=self.environment),
            **{f"{UNFILLED}/{SECRETS}/{name}": value for name, value in self.secrets.items()},
        }
        caddyfile_hash = hashlib.sha256(files["Caddyfile"].encode()).hexdigest()[:ID_LENGTH]
        compose = self.render(
            "compose.yaml.j2",
            __fastapi_slot=SLOT_TOKEN,
            __fastapi_image=self.image(files),
            __fastapi_caddyfile_hash=caddyfile_hash,
        )
        if self.secrets and f"./{SECRETS}/" not in compose:
            raise SourceError(
                "fastapi_secrets_as_files is true, and compose.yaml.j2 of fastapi_templates does not say __fastapi_secrets, so "
                "that the application would not find them; take that part over from the collection's template."
            )
        return {**files, f"{UNFILLED}/compose.yaml": compose}

    def image(self, files: Mapping[str, str]) -> str:
        """Return the image's reference, whose tag is a hash of all that it is built from."""
        digest = hashlib.sha256()
        for part in (files["Dockerfile"], files[self.ignore_file], self.source.content_hash):
            digest.update(hashlib.sha256(part.encode()).digest())
        return f"{self.settings['fastapi_name']}:{digest.hexdigest()[:ID_LENGTH]}"

    def identity(self, files: Mapping[str, str]) -> str:
        """Return the id of the release, a hash of all that it holds but the slot that it is put into."""
        migrate = json.dumps(self.migrate())
        return bundle_hash(
            [
                *(Entry(path=path, data=text.encode()) for path, text in files.items()),
                Entry(path="source", data=self.source.content_hash.encode()),
                Entry(path="migrate", data=migrate.encode()),
                *self.static(),
            ]
        )[:ID_LENGTH]

    def static(self) -> list[Entry]:
        """Return the link to the folder of the source that the front door serves, [] where there is none."""
        folder = self.settings.get("fastapi_static_dir")
        if not folder:
            return []
        inner = posixpath.normpath(posixpath.join(self.source.workdir, folder))
        served = [path for path in self.source.files if path.startswith(f"{inner}/")]
        if not served:
            raise SourceError(
                f"fastapi_static_dir is {folder}, and no file that is deployed lies in {self.source.root / inner}; "
                "name a folder below fastapi_workdir, or leave it out."
            )
        for path in served:
            if leads_elsewhere(self.source.root / path, self.source.root / inner):
                raise SourceError(
                    f"fastapi_static_dir holds the symlink {path.removeprefix(f'{inner}/')} to "
                    f"{(self.source.root / path).readlink()}, which is no file below it; use a copy in its place."
                )
        return [Entry(path=STATIC, link=f"source/{inner}")]

    def migrate(self) -> list[str]:
        """Return the command that migrates the database, [] for none."""
        return list(self.settings.get("fastapi_migrate_command", MIGRATE if self.source.migrations else []))

    def entries(self, files: Mapping[str, str], identity: str) -> list[Entry]:
        """Return all that the folder of the release holds."""
        return [
            *(
                Entry(
                    path=path,
                    data=text.replace(RELEASE_TOKEN, identity).encode(),
                    mode=0o600 if path.endswith(".env") or path.startswith(f"{UNFILLED}/{SECRETS}/") else None,
                )
                for path, text in files.items()
            ),
            *self.static(),
            *(Entry(path=f"source/{path}", data=self.source.root / path, **self.attributes(path)) for path in self.source.files),
        ]

    def attributes(self, path: str) -> dict[str, Any]:
        file = self.source.root / path
        return {"link": str(file.readlink())} if file.is_symlink() else {"executable": bool(file.stat().st_mode & 0o100)}


def application(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the application's variables, and the secrets that it has as files, by name; none of them unless that is asked for.

    The database's password and the release stand in them as tokens.
    """
    known = database_settings(settings, settings["fastapi_database_user"], PASSWORD_TOKEN, PASSWORD_IN_URL_TOKEN)
    named = {part: variable for part, variable in settings["fastapi_database_env"].items() if part in known}
    own = {"WEB_CONCURRENCY": str(worker_count(settings, engine)), "RELEASE": RELEASE_TOKEN}
    if not settings["fastapi_secrets_as_files"]:
        return {**{variable: known[part] for part, variable in named.items()}, **own, **settings["fastapi_env"]}, {}
    secrets = {variable: known[part] for part, variable in named.items() if part in SECRET_SETTINGS} | settings["fastapi_env"]
    return {
        **{variable: known[part] for part, variable in named.items() if part not in SECRET_SETTINGS},
        **{f"{name}_FILE": f"{SECRETS_IN_CONTAINER}/{name}" for name in secrets},
        **own,
    }, secrets


def database_settings(settings: Mapping[str, Any], user: str, password: str, password_in_url: str) -> dict[str, str]:
    """Return what a login to the database takes, by the parts of fastapi_database_env."""
    external = external_database(settings)
    database = {
        "host": external.get("host", "db"),
        "port": str(external.get("port", 5432)),
        "name": settings["fastapi_database_name"],
        "user": user,
        "password": password,
    }
    url = database_url({**database, "password": password_in_url}, settings["fastapi_database_url_scheme"])
    # Between a database of the stack's own and the application there is no other host.
    return {**database, "url": url, **({"sslmode": external["sslmode"]} if external else {})}


def migrator(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the module migrate is told of the role that migrates, {} where it is the application's own."""
    user = settings.get("fastapi_database_migrator_user")
    if not user:
        return {}
    password = settings["fastapi_database_migrator_password"]
    known, named = database_settings(settings, user, password, password), settings["fastapi_database_env"]
    return {
        "migrator_user": user,
        "migrator_password": password,
        "migrator_variables": {named["user"]: user} if "user" in named else {},
        "migrator_secrets": {named[part]: known[part] for part in SECRET_SETTINGS if part in named},
        "secrets_as_files": settings["fastapi_secrets_as_files"],
    }


def external_database(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the database is that is not the stack's own, {} where it is; the shape is that of postgres.Database."""
    if not settings.get("fastapi_database_host"):
        return {}
    return {
        "host": settings["fastapi_database_host"],
        "port": int(settings["fastapi_database_port"]),
        "sslmode": settings["fastapi_database_sslmode"],
        "name": settings["fastapi_database_name"],
        "user": settings["fastapi_database_user"],
        "image": settings["fastapi_postgres_image"],
    }


def worker_count(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> int:
    """Return how many processes of uvicorn a slot runs."""
    if settings.get("fastapi_workers"):
        return int(settings["fastapi_workers"])
    processors = float(settings["fastapi_app_cpu_limit"] or engine["processors"])
    limit = settings["fastapi_app_memory_limit"]
    # Of a host without limits half is the database's, and an update has two slots.
    fit = workers(processors, bytes_of(limit) if limit else quantised(engine["memory"]) // 4)
    most = settings["fastapi_postgres_settings"].get("max_connections")
    return fit if most is None else min(fit, connected(int(most), int(settings["fastapi_database_pool"])))


def database_memory(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> int:
    """Return the bytes that the database may use: its limit, else half of what the host has."""
    limit = settings["fastapi_database_memory_limit"]
    return bytes_of(limit) if limit else quantised(engine["memory"]) // 2


def postgres_command(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> list[str]:
    """Return what the database's container runs: the server with its settings."""
    given = {name: postgres_value(value) for name, value in settings["fastapi_postgres_settings"].items()}
    needed = connections(worker_count(settings, engine), int(settings["fastapi_database_pool"]))
    tuned = postgres(
        memory=database_memory(settings, engine),
        cpus=float(settings["fastapi_database_cpu_limit"] or engine["processors"]),
        max_connections=int(given.get("max_connections", needed)),
        major=postgres_major(settings["fastapi_postgres_image"]),
    )
    archived = server_settings(int(settings["fastapi_pitr_archive_timeout"])) if settings["fastapi_pitr_enabled"] else {}
    told = {**tuned, **given, **archived}
    return ["postgres", *(word for name, value in told.items() for word in ("-c", f"{name}={value}"))]


def database_image(settings: Mapping[str, Any]) -> str:
    """Return what the database runs on: PostgreSQL's image, or where it is archived the one with pgBackRest."""
    image = settings["fastapi_postgres_image"]
    return image_of(settings["fastapi_name"], image) if settings["fastapi_pitr_enabled"] else image


def superuser(settings: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    """Return the role that the database's cluster is made with; a container of before is not made anew for another one.

    On data that is there it does not count: whose superuser it is stands in the data.
    """
    made_with = settings["fastapi_database_user"] if host["volume"]["major"] else SUPERUSER
    return host["services"].get("db", {}).get("superuser") or made_with


def archive_environment(settings: Mapping[str, Any], user: str) -> dict[str, str]:
    """Return what pgBackRest in the database's container is told, {} where nothing is archived."""
    if not settings["fastapi_pitr_enabled"]:
        return {}
    image = settings["fastapi_postgres_image"]
    return container_environment(settings["fastapi_name"], user, postgres_mount(image), postgres_major(image))


def postgres_value(value: Any) -> str:
    """Return a value as PostgreSQL reads it on its command line."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def renderer(templar, variables: Mapping[str, Any], host: Mapping[str, Any], root: Path) -> Renderer:
    """Return the renderer of the source in the folder ``root`` with the role's variables; raises SourceError."""
    settings = Settings(templar, variables)
    source = read_source(root, settings["fastapi_workdir"], settings["fastapi_app"])
    return Renderer(templar, variables, settings, host, source)
