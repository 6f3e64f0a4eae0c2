# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The files of a release, rendered on the controller from the templates and the role's variables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.template import trust_as_template
from ansible_collections.drydock.stack.plugins.module_utils.bundle import Entry, bundle_hash
from ansible_collections.drydock.stack.plugins.module_utils.quoting import database_url
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    PASSWORD_IN_URL_TOKEN,
    PASSWORD_TOKEN,
    RELEASE_TOKEN,
)
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_major
from ansible_collections.drydock.stack.plugins.module_utils.source import NEVER, Source
from ansible_collections.drydock.stack.plugins.module_utils.tuning import bytes_of, workers

ID_LENGTH = 12


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
        self.variables = {
            "ansible_managed": "Ansible managed",
            **variables,
            "__fastapi_source": asdict(source),
            "__fastapi_never": list(NEVER),
            "__fastapi_front": dict(host["front"]),
            "__fastapi_postgres_mount": postgres_mount(settings["fastapi_postgres_image"]),
            "__fastapi_release_id": RELEASE_TOKEN,
        }
        self.environment = environment(settings, host["engine"])

    def render(self, template: str, **more: Any) -> str:
        text = trust_as_template((self.folder / template).read_text(encoding="utf-8"))
        templar = self.templar.copy_with_new_env(searchpath=[str(self.folder)], available_variables={**self.variables, **more})
        return str(templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": False}))

    def dockerfile(self) -> str:
        own = self.settings.get("fastapi_dockerfile")
        return Path(own).expanduser().read_text(encoding="utf-8") if own else self.render("Dockerfile.j2")

    def files(self) -> dict[str, str]:
        """Return the files that are the same in both slots, by name."""
        return {
            "Dockerfile": self.dockerfile(),
            ".dockerignore": self.render("dockerignore.j2"),
            ".env": self.render("env.j2", __fastapi_environment=self.environment),
            "Caddyfile": self.render("Caddyfile.j2"),
        }

    def image(self, files: Mapping[str, str]) -> str:
        """Return the image's reference, whose tag is a hash of all that it is built from."""
        digest = hashlib.sha256()
        for part in (files["Dockerfile"], files[".dockerignore"], self.source.content_hash):
            digest.update(hashlib.sha256(part.encode()).digest())
        return f"{self.settings['fastapi_name']}:{digest.hexdigest()[:ID_LENGTH]}"

    def release(self, files: Mapping[str, str], slot: str) -> tuple[str, list[Entry]]:
        """Return the id and the entries of the release that runs in the slot; the id stands in them where it is named."""
        caddyfile_hash = hashlib.sha256(files["Caddyfile"].encode()).hexdigest()[:ID_LENGTH]
        compose = self.render(
            "compose.yaml.j2",
            __fastapi_slot=slot,
            __fastapi_image=self.image(files),
            __fastapi_caddyfile_hash=caddyfile_hash,
        )
        source = [
            Entry(path=f"source/{path}", data=self.source.root / path, **self.attributes(path)) for path in self.source.files
        ]

        def entries(identity: str) -> list[Entry]:
            texts = {**files, "compose.yaml": compose}
            return [
                Entry(path=path, data=text.replace(RELEASE_TOKEN, identity).encode(), mode=0o600 if path == ".env" else None)
                for path, text in texts.items()
            ]

        content = Entry(path="source", data=self.source.content_hash.encode())
        identity = bundle_hash([*entries(RELEASE_TOKEN), content])[:ID_LENGTH]
        return identity, [*entries(identity), *source]

    def attributes(self, path: str) -> dict[str, Any]:
        file = self.source.root / path
        return {"link": str(file.readlink())} if file.is_symlink() else {"executable": bool(file.stat().st_mode & 0o100)}


def postgres_mount(image: str) -> str:
    """Return where the image keeps its data: from 18 in a folder by its major version, so that its parent is mounted."""
    return "/var/lib/postgresql" if postgres_major(image) >= 18 else "/var/lib/postgresql/data"


def environment(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, str]:
    """Return the application's variables; the database's password and the release stand in them as tokens."""
    database = {
        "host": "db",
        "port": "5432",
        "name": settings["fastapi_database_name"],
        "user": settings["fastapi_database_user"],
        "password": PASSWORD_TOKEN,
    }
    url = database_url({**database, "password": PASSWORD_IN_URL_TOKEN}, settings["fastapi_database_url_scheme"])
    return {
        **{variable: {**database, "url": url}[part] for part, variable in settings["fastapi_database_env"].items()},
        "WEB_CONCURRENCY": str(settings.get("fastapi_workers") or default_workers(settings, engine)),
        "RELEASE": RELEASE_TOKEN,
        **settings["fastapi_env"],
    }


def default_workers(settings: Mapping[str, Any], engine: Mapping[str, Any]) -> int:
    processors = float(settings["fastapi_app_cpu_limit"] or engine["processors"])
    memory = bytes_of(settings["fastapi_app_memory_limit"]) if settings["fastapi_app_memory_limit"] else engine["memory"]
    return workers(processors, memory, shares_host=True)
