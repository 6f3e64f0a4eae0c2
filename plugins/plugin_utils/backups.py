# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What the role's variables say about backups, as the program on the host reads it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_mount
from ansible_collections.drydock.stack.plugins.plugin_utils.render import external_database, postgres_value


def backup_settings(settings: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return what <root>/backup.json is to hold on the host with this name in the inventory; no secret is among it."""
    image = settings["fastapi_postgres_image"]
    preloaded = settings["fastapi_postgres_settings"].get("shared_preload_libraries")
    return {
        "name": settings["fastapi_name"],
        "image": image,
        "mount": postgres_mount(image),
        "database": settings["fastapi_database_name"],
        "user": settings["fastapi_database_user"],
        "elsewhere": external_database(settings),
        "schedule": settings["fastapi_backup_schedule"],
        "keep": {part: int(number) for part, number in settings["fastapi_backup_keep"].items()},
        "keep_before": int(settings["fastapi_keep_releases"]),
        "max_age": float(settings["fastapi_backup_max_age"]),
        "copy_to": settings["fastapi_backup_copy_to"],
        # Whose the copies are; a host that has none may have another name tomorrow.
        **({"host": host} if settings["fastapi_backup_copy_to"] else {}),
        "encrypt_to": settings["fastapi_backup_encrypt_to"],
        "alert": list(settings["fastapi_alert_command"]),
        "drill_schedule": settings["fastapi_drill_schedule"],
        "drill_query": settings["fastapi_drill_query"],
        "pitr": pitr_settings(settings),
        # What is restored needs it as well.
        **({"preload": postgres_value(preloaded)} if preloaded else {}),
    }


def pitr_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the archive of the database is, {} where there is none."""
    if not settings["fastapi_pitr_enabled"]:
        return {}
    return {
        "repository": posixpath.normpath(settings["fastapi_pitr_repository"]),
        "keep": int(settings["fastapi_pitr_keep"]),
        "encrypted": bool(settings["fastapi_pitr_encrypted"]),
    }
