"""The rules of the public variables: one case for each, and what holds for all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.drydock.stack.plugins.module_utils import release, settings
from hypothesis import given
from hypothesis import strategies as st

ROLE = Path(__file__).parents[2] / "roles" / "fastapi"
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text("utf-8")) | {
    "fastapi_root": "/opt/app",
    "fastapi_pitr_repository": "/opt/app/backups/pgbackrest",
    "fastapi_source": "/srv/shop",
    "fastapi_database_name": "app",
    "fastapi_database_user": "app",
    "fastapi_templates": "/srv/templates",
}
QUOTE = "use text: put it between quotes, as YAML changes what is written without (0123, yes)."
SLUG = "fastapi_name is {}; use a lower-case letter, then up to 39 lower-case letters, digits and inner hyphens{}."
ROOT = "use an absolute path without '..', outer spaces and any of : , \" $ % \\, such as /opt/shop."
COPY_TO = "use the absolute path of a folder on the host, or remote:path as rclone has it, such as offsite:bucket/shop."
OFF_SYSTEM = "use a folder outside those of the system, such as /mnt/backups/shop."
GIT_SOURCE = "use a folder, or a git URL that begins with https://, ssh://, file:// or user@host:."
HEADER = "use the name of a header that means nothing else, such as X-Slot."
DUMP = "use the name of a dump, or the path of a file on the host, such as /root/shop.dump."
OWN_ROOT = "use a folder of the stack's own, outside those of the system, such as /opt/shop."
OWN_FOLDER = OWN_ROOT.replace("/opt/shop", "/mnt/archive/shop")
WORKDIR = "use a folder inside the source without '..', or . for all of it."
APP = "use module:attribute, such as main:app or shop.main:app."
PATH = "use a path such as /readyz, without '..', spaces and characters that a URL has to encode."
ADDRESS = "use an IP address of the host, without brackets, such as 127.0.0.1, 0.0.0.0 or ::1."
DOMAIN = "use a host name such as shop.example.com, without scheme, port, path and wildcard"
BODY = "use a number above 0 and a unit, such as 10MB or 512KiB."
# Of "open sesame".
HASH = "$2b$10$lUisYhjUXZ8eAW6Dy9T8HOc20vxvAemEDvvyUU5ojKgBb24oyN/b2"
MEMORY = 'use a number and a unit, at least 6m, such as 512m or 2g, or "" for most of the host\'s.'
CPUS = 'use a number of processors from 0.01 on, such as 1.5, or "" for no limit.'
POSTGRES = "use a tag that begins with a major version, 13 to 18, such as postgres:17."
REGISTRY = "use a registry with or without a path, and without scheme and tag, such as registry.example.com:5000/team."
IMAGE = "use an image's reference in lower case, such as python:3.13-slim-trixie."
IDENTIFIER = "use up to 63 letters, digits, '_' and inner hyphens."
PACKAGES = "use names of Debian packages, such as libpq5."
VARIABLE = "use letters, digits and '_', no digit first, between quotes where YAML reads no text."
ENV_TEXT = "use text: put it between quotes, as YAML changes what is written without (0123, yes)."
SECRETS = "use netrc, uv.toml, pip.conf."
KEYS = "use host, port, name, user, password, url, sslmode."
CONTAINER = "for the application that is its own container; use a name or an address that leads to the database from there."
ONE_LINE = "use text on one line, without control characters."
BUNDLE = 'use the absolute path of a file on the host, without \'..\' and any of : , " $ % \\, or "" for none.'
REVISION = "use a branch, a tag or a commit."
FOLDER = ROOT.replace("/opt/shop", "/mnt/archive/shop")
PATTERN = "use a pattern of .dockerignore below the source, without '!', '#' or '/' before it, '..' and outer spaces."
REQUIREMENT = 'use a requirement such as "uvicorn[standard]>=0.30", without options and paths.'

# Variable, value, and all that is said of it after the variable's name and "is <value>; " (or the whole, if it begins so).
BAD: list[tuple[str, Any, str]] = [
    ("fastapi_name", "My App", SLUG.format("My App", ", such as my-app")),
    ("fastapi_name", "Crème 2000!", SLUG.format("Crème 2000!", ", such as creme-2000")),
    ("fastapi_name", "app-", SLUG.format("app-", ", such as app")),
    ("fastapi_name", "1", SLUG.format("1", "")),
    ("fastapi_name", "a" * 41, SLUG.format("a" * 41, f", such as {'a' * 40}")),
    ("fastapi_name", "app\n", SLUG.format('"app\\n"', ", such as app")),
    ("fastapi_name", 83, f"fastapi_name is 83; {QUOTE}"),
    ("fastapi_name", True, f"fastapi_name is true (a boolean); {QUOTE}"),
    ("fastapi_name", ["a"], f"fastapi_name is a list; {QUOTE}"),
    ("fastapi_name", None, "fastapi_name has no value; give one, or leave the line out."),
    ("fastapi_root", "opt/shop", ROOT),
    ("fastapi_root", "/opt/../shop", ROOT),
    *(("fastapi_root", f"/opt/sh{character}op", ROOT) for character in ':,"$%\\'),
    ("fastapi_root", "/opt/shop ", ROOT),
    ("fastapi_root", "/opt/shop\nx", ONE_LINE),
    *(("fastapi_root", path, OWN_ROOT) for path in ("/", "//", "/opt/", "/usr", "/usr/lib/shop", "/etc/shop", "/run/x")),
    *(("fastapi_root", path, OWN_ROOT) for path in ("/home/me", "/var/lib", "/var/lib/docker/shop", "/root", "/usr/local")),
    ("fastapi_disk_required", -1, "use a number of gigabytes from 0 on."),
    ("fastapi_disk_required", "", "use a number of gigabytes from 0 on."),
    ("fastapi_disk_required", "2 GB", "use a number of gigabytes from 0 on."),
    ("fastapi_keep_releases", 0, "use 1 to 1000."),
    ("fastapi_source", "", "give some text, or leave the line out."),
    ("fastapi_source", 5, QUOTE),
    ("fastapi_source", "ext://sh", "use a folder, or a git URL that begins with https://, ssh://, file:// or user@host:."),
    ("fastapi_source", "a\tb", ONE_LINE),
    ("fastapi_source_version", 1.1, QUOTE),
    ("fastapi_source_version", "--upload-pack=x", REVISION),
    ("fastapi_source_version", "a b", REVISION),
    *(("fastapi_workdir", path, WORKDIR) for path in ("", "/srv", "../x", "a/../b", " a", "a\\b")),
    ("fastapi_workdir", "a\0", ONE_LINE),
    *(
        ("fastapi_workdir", path, "use a folder inside the source without '$' and quotes in its path.")
        for path in ("a$b", "a/${HOME}", 'a"', "it's")
    ),
    *(("fastapi_app", app, APP) for app in ("main", "main.py", "main:", ":app", "main:create()", "my-app:app", "class:app")),
    ("fastapi_workers", 0, "use 1 to 1024."),
    ("fastapi_workers", True, "use a whole number, 1 to 1024."),
    ("fastapi_workers", "", "use a whole number, 1 to 1024."),
    *(("fastapi_readiness_path", path, PATH) for path in ("readyz", "/a b", "/a/../b", "/ä", "/a\n", '/"', "")),
    ("fastapi_healthy_timeout", 0, "use 1 to 86400."),
    ("fastapi_healthy_timeout", 1.5, "use a whole number, 1 to 86400."),
    ("fastapi_drain_timeout", -1, "use 1 to 86400."),
    ("fastapi_migrate_timeout", "60s", "use a whole number, 1 to 86400."),
    ("fastapi_migrate_command", "alembic upgrade head", "use a list of texts, such as [one, two]."),
    ("fastapi_migrate_command", ["alembic", 5], f"fastapi_migrate_command, item 2, is 5; {QUOTE}"),
    (
        "fastapi_migrate_command",
        ["a\0"],
        f'fastapi_migrate_command, item 1, is "a\\u0000"; {ONE_LINE}',
    ),
    *(("fastapi_database_name", name, IDENTIFIER) for name in ("-a", "a b", "a" * 64, "ä", 'a"', "a/b")),
    *(
        ("fastapi_static_dir", folder, "use a folder below fastapi_workdir, such as static.")
        for folder in (".", "../a", "/a", "a/..")
    ),
    *(
        ("fastapi_static_url", url, "use a path such as /static, without a slash at its end.")
        for url in ("static", "/", "/static/", "/a b", "/{a}", "/../a")
    ),
    ("fastapi_database_host", "localhost", CONTAINER),
    ("fastapi_database_host", "::1", CONTAINER),
    ("fastapi_database_host", "db", "that is the stack's own database; leave it out."),
    ("fastapi_database_host", "db:5432", "use the name or the IP address of a host, without scheme, port and path."),
    ("fastapi_database_port", 0, "use 1 to 65535."),
    ("fastapi_database_sslmode", "on", "use one of disable, allow, prefer, require, verify-ca, verify-full."),
    ("fastapi_database_name", "template1", "use another name, this one is PostgreSQL's own."),
    ("fastapi_database_user", "a@b", IDENTIFIER),
    *(
        ("fastapi_database_user", name, "use another name, PostgreSQL keeps this one for itself.")
        for name in ("pg_shop", "public", "none")
    ),
    (
        "fastapi_database_env",
        ["DB_HOST"],
        "use a mapping of host, port, name, user, password, url, sslmode to names of variables.",
    ),
    ("fastapi_database_env", {"hots": "DB_HOST"}, f"fastapi_database_env has the key hots; {KEYS}"),
    ("fastapi_database_env", {1: "DB_HOST"}, f"fastapi_database_env has the key 1; {KEYS}"),
    ("fastapi_database_env", {"host": "DB-HOST"}, f"fastapi_database_env.host is DB-HOST; {VARIABLE}"),
    ("fastapi_database_env", {"host": 5}, f"fastapi_database_env.host is 5; {VARIABLE}"),
    (
        "fastapi_database_env",
        {"host": "DB", "name": "DB"},
        "fastapi_database_env.name is DB, as is fastapi_database_env.host; use two names.",
    ),
    (
        "fastapi_database_env",
        {"host": "WEB_CONCURRENCY"},
        "fastapi_database_env.host is WEB_CONCURRENCY, which the stack uses itself; use another name.",
    ),
    *(
        ("fastapi_database_url_scheme", scheme, "use postgresql, or postgresql+driver such as postgresql+asyncpg.")
        for scheme in ("mysql", "postgresql://", "postgresql+", "Postgresql")
    ),
    ("fastapi_database_pool", 0, "use 1 to 1000."),
    ("fastapi_postgres_settings", ["a"], "use a mapping of settings of PostgreSQL to values, such as {work_mem: 16MB}."),
    (
        "fastapi_postgres_settings",
        {"Work Mem": 1},
        "fastapi_postgres_settings has the name Work Mem; use a setting of PostgreSQL in lower case, such as work_mem.",
    ),
    (
        "fastapi_postgres_settings",
        {"listen_addresses": "*"},
        "fastapi_postgres_settings.listen_addresses is set by the stack, which finds the database by it; leave it out.",
    ),
    (
        "fastapi_postgres_settings",
        {"work_mem": ["4MB"]},
        "fastapi_postgres_settings.work_mem is a list; use text, a number, true or false.",
    ),
    *(
        (
            "fastapi_postgres_settings",
            {"seed": number},
            "fastapi_postgres_settings.seed is no number of 64 bits; use a smaller one, or text.",
        )
        for number in (float("nan"), float("inf"), 2**63, -(10**5000))
    ),
    *(
        (
            "fastapi_postgres_settings",
            {"max_connections": number},
            f"fastapi_postgres_settings.max_connections is {shown}; use a whole number, 1 to 262143.",
        )
        for number, shown in (("lots", "lots"), (True, "true (a boolean)"), (70.5, "70.5"))
    ),
    ("fastapi_postgres_settings", {"max_connections": 0}, "fastapi_postgres_settings.max_connections is 0; use 1 to 262143."),
    (
        "fastapi_postgres_settings",
        {"work_mem": "4MB\n"},
        "fastapi_postgres_settings.work_mem holds a line break or a control character; use text on one line.",
    ),
    *(("fastapi_bind_address", address, ADDRESS) for address in ("localhost", "[::1]", "127.0.0.1:80", "300.0.0.1", "")),
    ("fastapi_bind_address", "fe80::1%eth0", "leave the zone out, Docker takes none."),
    ("fastapi_port", 99999, "fastapi_port is 99999; use 1 to 65535."),
    ("fastapi_port", "99999", "use 1 to 65535."),
    ("fastapi_port", 0, "use 1 to 65535."),
    ("fastapi_port", "08000", "use a whole number, 1 to 65535."),
    ("fastapi_port", "8000\n", "use a whole number, 1 to 65535."),
    ("fastapi_port", False, "use a whole number, 1 to 65535."),
    *(("fastapi_domain", name, f"{DOMAIN}.") for name in ("https://shop.example", "shop.example:80", "*.example.com")),
    *(
        ("fastapi_domain", name, f"{DOMAIN}.")
        for name in ("-a.example", "a..b", "a_b", "10.0.0.1", "a" * 64, "shop.example.", ".".join(["a" * 60] * 5))
    ),
    (
        "fastapi_domain",
        "import",
        "use a longer name, in the front door's configuration this one has a meaning of its own.",
    ),
    ("fastapi_domain", "bücher.example", "use its ASCII form, xn--bcher-kva.example."),
    ("fastapi_domain", "faß.example", f"{DOMAIN}, in its ASCII form (xn--…)."),
    ("fastapi_domain", None, "fastapi_domain has no value; give one, or leave the line out."),
    ("fastapi_tls", "yes", "use one of auto, internal, off."),
    ("fastapi_tls", False, QUOTE),
    *(
        ("fastapi_request_body_limit", size, BODY)
        for size in ("", "0", "0MB", "10 MB", "ten", "-1MB", "10MB }", "0.9", "0.0001kB")
    ),
    *(("fastapi_request_body_limit", size, BODY) for size in ("9" * 19, "9223373TB", "9" * 5000)),
    ("fastapi_dockerfile", "a\nb", ONE_LINE),
    ("fastapi_templates", "", "give some text, or leave the line out."),
    *(("fastapi_python_image", image, IMAGE) for image in ("Python:3.13", "python 3", "", "python:", "python@sha256:abc", "-a")),
    *(
        ("fastapi_registry", registry, REGISTRY)
        for registry in ("https://reg.example", "team", "reg.example/", "reg.example/a:1", "Reg.example/A", "a b:1")
    ),
    ("fastapi_caddy_image", "caddy:2\n", IMAGE),
    *(("fastapi_postgres_image", image, POSTGRES) for image in ("postgres", "postgres:latest", "postgres:12", "postgres:19")),
    *(
        ("fastapi_postgres_image", image, POSTGRES)
        for image in ("postgres:17x", "reg:17/postgres", f"postgres@sha256:{'0' * 64}")
    ),
    ("fastapi_image_variant", "distroless", "use one of slim, minimal."),
    ("fastapi_build_packages", "gcc", "use a list of texts, such as [one, two]."),
    *(
        ("fastapi_build_packages", ["gcc", name], f"fastapi_build_packages, item 2, is {name}; {PACKAGES}")
        for name in ("libpq5-", "-y", "Lib", "a;b", "a=x", "a")
    ),
    ("fastapi_runtime_packages", [True], f"fastapi_runtime_packages, item 1, is true (a boolean); {QUOTE}"),
    *(
        ("fastapi_extra_requirements", [text], f"fastapi_extra_requirements, item 1, is {text}; {REQUIREMENT}")
        for text in ("-r x", "./x", "/x")
    ),
    *(
        (
            "fastapi_extra_requirements",
            [f"a @ {url}"],
            f"fastapi_extra_requirements, item 1, is a @ {shown}; take the password out of the URL, as it would be in the image; "
            "give it as netrc in fastapi_build_secrets.",
        )
        for url, shown in (
            ("https://me:hunter2@files.example/a.whl", "https://…@files.example/a.whl"),
            ("git+SSH://:hunter2@git.example/a", "git+SSH://…@git.example/a"),
        )
    ),
    *(
        ("fastapi_image_exclude", [text], f"fastapi_image_exclude, item 1, is {text}; {PATTERN}")
        for text in ("!a", "#a", "/a", "a/../b")
    ),
    ("fastapi_image_include", [""], f'fastapi_image_include, item 1, is ""; {PATTERN}'),
    *(("fastapi_build_ca_bundle", path, BUNDLE) for path in ("ca.crt", "/a/../b", "/a,b", '/a"')),
    *(("fastapi_app_memory_limit", size, MEMORY) for size in ("512", "5m", "1 g", "lots", "-1g", "1.g", "9" * 400, "8192p")),
    ("fastapi_database_memory_limit", 536870912, QUOTE),
    ("fastapi_proxy_memory_limit", "5m", MEMORY),
    *(
        ("fastapi_app_cpu_limit", cpus, CPUS)
        for cpus in (0, "0", "1,5", -1, True, "two", float("nan"), float("inf"), "1e3", 10**9, 10**400)
    ),
    ("fastapi_database_cpu_limit", "0", CPUS),
    ("fastapi_proxy_cpu_limit", [1], CPUS),
    *((f"fastapi_{service}_pids_limit", 0, "use 1 to 4194304.") for service in ("app", "database", "proxy")),
    *(
        ("fastapi_log_max_size", size, "use a number above 0 and one of k, m, g, such as 10m.")
        for size in ("0", "10MB", "-1", "")
    ),
    ("fastapi_log_max_file", 0, "use 1 to 1000."),
    ("fastapi_status_format", "xml", "use one of table, json."),
    ("fastapi_status_file", ["status.json"], QUOTE),
    ("fastapi_pitr_repository", "archive", FOLDER),
    *(("fastapi_pitr_repository", path, OWN_FOLDER) for path in ("/", "/mnt", "/tmp", "/var/tmp", "/dev/shm", "/home/bob")),  # noqa: S108
    *(("fastapi_pitr_repository", path, FOLDER) for path in ("/mnt/../etc", "/mnt/a,b", "/mnt/$HOME")),
    *(("fastapi_backup_copy_to", path, OFF_SYSTEM) for path in ("/", "/etc/shop", "/proc")),
    ("fastapi_backup_copy_to", "-P:x", COPY_TO),
    ("fastapi_backup_copy_to", ":s3,key=hunter2:b", f"fastapi_backup_copy_to is :s3,…; {COPY_TO}"),
    ("fastapi_source", "-ufoo@h:x", GIT_SOURCE),
    ("fastapi_source", "bob:hunter2@h:x y", f"fastapi_source is …@h:x y; {GIT_SOURCE}"),
    ("fastapi_source", "https://bob:hunter2 x@h/r", f"fastapi_source is https://…@h/r; {GIT_SOURCE}"),
    *(("fastapi_slot_header", name, HEADER) for name in ("Host", "set-cookie", "Content-Type", "X-Maintenance-Bypass", "x y")),
    *(("fastapi_restore_from", path, DUMP) for path in ("/", "//", ".", "copy:/")),
    ("fastapi_pitr_enabled", "yes", "use true or false."),
    ("fastapi_pitr_encrypted", 1, "use true or false."),
    ("fastapi_pitr_archive_timeout", 0, "use 1 to 86400."),
    ("fastapi_pitr_keep", 0, "use 1 to 1000."),
    ("fastapi_restore_target_time", 20260131, QUOTE),
    ("fastapi_remove_data", True, QUOTE),
    ("fastapi_maintenance_enabled", "on Sunday", "use true or false."),
    ("fastapi_maintenance_page", 503, QUOTE),
    ("fastapi_maintenance_retry_after", 0, "use 1 to 86400."),
    ("fastapi_logs_service", "cache", "use one of app, db, proxy."),
    ("fastapi_logs_lines", 0, "use 1 to 10000."),
    ("fastapi_exec_command", "python --version", "use a list of texts, such as [one, two]."),
    ("fastapi_exec_command", [], "fastapi_exec_command is empty; give a command as a list, such as [python, --version]."),
    ("fastapi_psql_query", 1, "fastapi_psql_query is a number; use text: put it between quotes."),
    (
        "fastapi_psql_query",
        " ",
        "fastapi_psql_query is empty, or holds a NUL character or invalid Unicode; give SQL, such as 'SELECT version()'.",
    ),
    (
        "fastapi_psql_query",
        "\ud800",
        "fastapi_psql_query is empty, or holds a NUL character or invalid Unicode; give SQL, such as 'SELECT version()'.",
    ),
    ("fastapi_env", ["A=b"], "fastapi_env is a list; use a mapping of names to texts."),
    ("fastapi_env", {"A": 5}, f"fastapi_env.A is a number; {ENV_TEXT}"),
    ("fastapi_env", {"A": None}, f"fastapi_env.A is nothing; {ENV_TEXT}"),
    ("fastapi_env", {"A-B": "c"}, f"fastapi_env has the name A-B; {VARIABLE}"),
    ("fastapi_env", {True: "c"}, f"fastapi_env has the name true (a boolean); {VARIABLE}"),
    ("fastapi_env", {"A": "\0"}, "fastapi_env.A holds a NUL character or invalid Unicode; encode binary data as base64."),
    ("fastapi_env", {"A": "\ud800"}, "fastapi_env.A holds a NUL character or invalid Unicode; encode binary data as base64."),
    ("fastapi_env", {"A": "é" * 65535}, "fastapi_env.A is 131070 bytes long; use less than 131072, or a file."),
    ("fastapi_env", {"WEB_CONCURRENCY": "2"}, "fastapi_env.WEB_CONCURRENCY is set by the stack; set fastapi_workers instead."),
    (
        "fastapi_env",
        {"DB_HOST": "db"},
        "fastapi_env.DB_HOST is set by the stack to the database's host; "
        "use another name, or leave it out of fastapi_database_env.",
    ),
    ("fastapi_secrets_as_files", "yes", "use true or false."),
    (
        "fastapi_env",
        {"COMPOSE_FILE": "x"},
        "fastapi_env.COMPOSE_FILE changes what Compose does, which reads .env as well; use another name.",
    ),
    ("fastapi_database_password", 123, "fastapi_database_password is a number; use text: put it between quotes."),
    ("fastapi_database_password", None, "fastapi_database_password is nothing; use text: put it between quotes."),
    ("fastapi_database_password", "", "fastapi_database_password is empty; give some text, or leave it out."),
    (
        "fastapi_database_password",
        "secret\r\n",
        "fastapi_database_password ends with a line break, which most files and commands add by themselves; "
        "take it off: `| trim`.",
    ),
    ("fastapi_database_password", "a\nb", "fastapi_database_password holds a line break; use text on one line."),
    ("fastapi_database_password", "\n", "fastapi_database_password holds a line break; use text on one line."),
    (
        "fastapi_database_password",
        "a\0",
        "fastapi_database_password holds a NUL character or invalid Unicode; use other text.",
    ),
    ("fastapi_database_password", "é" * 501, "fastapi_database_password is 1002 bytes long; use at most 1000."),
    *(
        (f"fastapi_{name}", path, "use a path of at most 1024 bytes, whose names have at most 255.")
        for name in ("root", "source", "build_ca_bundle", "dockerfile", "templates", "status_file", "maintenance_page")
        for path in ("/opt/" + "é" * 128, "/opt" + "/ab" * 400)
    ),
    *(
        (f"fastapi_{name}", "a/" * 600, "use a path of at most 1024 bytes, whose names have at most 255.")
        for name in ("workdir", "restore_from", "restore_identity")
    ),
    *(
        (f"fastapi_{name}", "~nobody-here/x", "use a path, or ~user of somebody who is known on the controller.")
        for name in ("source", "dockerfile", "status_file", "maintenance_page", "restore_identity")
    ),
    ("fastapi_build_secrets", "x", "fastapi_build_secrets is text; use a mapping of netrc, uv.toml, pip.conf to their contents."),
    ("fastapi_build_secrets", {"token": "x"}, f"fastapi_build_secrets has the key token; {SECRETS}"),
    ("fastapi_build_secrets", {"netrc": ""}, "fastapi_build_secrets.netrc is empty; give some text, or leave it out."),
    ("fastapi_build_secrets", {"netrc": 5}, "fastapi_build_secrets.netrc is a number; use text: put it between quotes."),
    (
        "fastapi_build_secrets",
        {"pip.conf": "a\0"},
        "fastapi_build_secrets.pip.conf holds a NUL character or invalid Unicode; use other text.",
    ),
    ("fastapi_pg_user", "shop", "fastapi_pg_user is now fastapi_database_user; rename it."),
    ("fastapi_prot", 8000, "fastapi_prot is set, and the role has no such variable; is fastapi_root or fastapi_port meant?"),
    ("fastapi_zzzzzz", 1, "fastapi_zzzzzz is set, and the role has no such variable; see the role's README for those it has."),
]

GOOD: list[dict[str, Any]] = [
    {},
    {"fastapi_name": "a", "fastapi_root": "/srv/my shop/ä"},
    {"fastapi_root": "/usr/local/shop/"},
    {"fastapi_root": "/home/me/shop"},
    {"fastapi_port": "8001", "fastapi_workers": "2", "fastapi_disk_required": 0.5, "fastapi_keep_releases": 1},
    {"fastapi_domain": "shop.example.com", "fastapi_tls": "internal"},
    {"fastapi_domain": "xn--bcher-kva.example", "fastapi_tls": "off", "fastapi_port": 8000},
    {"fastapi_domain": "", "fastapi_dockerfile": "", "fastapi_port": 80},
    {"fastapi_source": "https://git.example/shop.git", "fastapi_source_version": "v1.0"},
    {"fastapi_source": "git@git.example:shop.git", "fastapi_source_version": "feature/x"},
    {"fastapi_source": "../my shop", "fastapi_workdir": "services/shop", "fastapi_app": "shop.main:api.app"},
    {"fastapi_migrate_command": ["sh", "-c", "a 'b' $C"]},
    {"fastapi_migrate_command": []},
    {"fastapi_database_name": "my-shop", "fastapi_database_user": "Shop_1", "fastapi_database_password": " p'\"$\\ä "},
    {"fastapi_database_env": {"url": "DSN"}, "fastapi_env": {"DB_HOST": "elsewhere", "_a1": "multi\nline"}},
    {"fastapi_env": {"A": "x" * (128 * 1024 - 3)}},
    {"fastapi_database_url_scheme": "postgresql+psycopg"},
    {"fastapi_postgres_settings": {"work_mem": "4MB", "jit": True, "auto_explain.log_analyze": "off", "seed": 0.5}},
    {"fastapi_postgres_settings": {"max_connections": 70}, "fastapi_workers": 2, "fastapi_database_pool": "15"},
    *({"fastapi_bind_address": address} for address in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1")),
    *({"fastapi_request_body_limit": size} for size in ("10MB", "1GiB", "512k", "1.5GB", "1024", "1B", "8191TiB")),
    *({"fastapi_app_memory_limit": size} for size in ("", "6m", "512M", "1.5g", "536870912", "1gb")),
    *({"fastapi_app_cpu_limit": cpus} for cpus in ("", "0.5", 1.5, 2, "2")),
    {"fastapi_workdir": "my shop/ä", "fastapi_static_dir": "it's $1"},
    *({"fastapi_readiness_path": path} for path in ("/", "/openapi.json", "/a-b/c_d~1?full=1&x=%20")),
    *({"fastapi_python_image": image} for image in ("python", "localhost/a/b:1", "reg.example:5000/a_b/c-d__e.f:T_1.x-y")),
    *({"fastapi_caddy_image": image} for image in (f"caddy:2@sha256:{'0a' * 32}", "reg:5000/caddy", "drydock.local/caddy:2")),
    {"fastapi_image_variant": "minimal", "fastapi_dockerfile": ""},
    {"fastapi_build_packages": ["g++", "libpq-dev", "gcc=4:12.2.0-3"]},
    {"fastapi_extra_requirements": ["uvicorn[standard]>=0.30", "a @ https://files.example/a.whl"]},
    {"fastapi_extra_requirements": ["a @ git+ssh://git@git.example/a", "b @ https://me:${TOKEN}@git.example/b.whl"]},
    {"fastapi_image_exclude": ["docs", "**/*.md"], "fastapi_image_include": ["docs/keep.md"]},
    {"fastapi_build_secrets": {"netrc": "machine x\npassword y\n", "uv.toml": "x", "pip.conf": "y"}},
    *({"fastapi_registry": registry} for registry in ("", "registry.example.com", "reg:5000/a/b", "localhost/team")),
    {"fastapi_build_ca_bundle": ""},
    {"fastapi_slot_header": ""},
    {"fastapi_basic_auth_paths": ["/", "/docs", "/a.b/c_d"], "fastapi_basic_auth_users": {"me@example.com": HASH, "0": HASH}},
    {"fastapi_secrets_as_files": True, "fastapi_env": {"A": "", "A_FILE": "", "COMPOSER": "x", "B" * 200: "x"}},
    {"fastapi_env": {"COMPOSE": "x", "B" * 201: "x"}, "fastapi_database_env": {"host": "PG_FILE", "url": "PG"}},
    {"fastapi_source": "~/shop", "fastapi_dockerfile": "~root/Dockerfile", "fastapi_root": "/opt/" + "é" * 127},
    {"fastapi_database_password": "é" * 500, "fastapi_templates": "~not-expanded"},
    {"fastapi_status_format": "json", "fastapi_status_file": "../status.json", "fastapi_remove_data": "app"},
    {"fastapi_maintenance_page": "", "fastapi_maintenance_retry_after": "60"},
    {"fastapi_logs_service": "db", "fastapi_logs_lines": "10"},
    {"fastapi_pitr_enabled": True, "fastapi_restore_target_time": "2026-01-31 03:30:00.5+01"},
    {"fastapi_exec_command": ["python", "-c", "print(1)\nprint(2)"], "fastapi_psql_query": "SELECT 1;\nSELECT 'é'"},
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_bad_value_is_refused(name: str, value: Any, message: str) -> None:
    (said,) = settings.problems(DEFAULTS | {name: value})
    if message.startswith("fastapi_"):
        assert said == message
    else:
        assert re.fullmatch(rf"{name} is [^\n]+; {re.escape(message)}", said)


@pytest.mark.parametrize("values", GOOD)
def test_a_good_value_is_taken(values: dict[str, Any]) -> None:
    assert settings.problems(DEFAULTS | values) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(
            (
                {"fastapi_basic_auth_paths": ["/a", path], "fastapi_basic_auth_users": {"me": HASH}},
                f"fastapi_basic_auth_paths, item 2, is {path}; use a path such as /docs, without a slash at its end, or / for "
                "all.",
            )
            for path in ("docs", "/docs/", "/a*", "/{a}", "//", "/../a", "/a`b")
        ),
        *(
            (
                {"fastapi_basic_auth_paths": ["/"], "fastapi_basic_auth_users": {"me": secret}},
                "fastapi_basic_auth_users.me is no bcrypt hash with a cost of 10 to 14; make one with `caddy hash-password`, or "
                "with `htpasswd -nBC 12`.",
            )
            for secret in (
                "open sesame",
                HASH[:-1],
                f"{HASH}\n",
                HASH.replace("$10$", "$05$"),
                HASH.replace("$10$", "$31$"),
                None,
            )
        ),
        *(
            (
                {"fastapi_basic_auth_paths": ["/"], "fastapi_basic_auth_users": {user: HASH}},
                f"fastapi_basic_auth_users has the name {settings.shown(user)}; use letters, digits, '.', '_', '@' and '-', and "
                "another name than import.",
            )
            for user in ("import", "a b", "", "@a", "a:b", "{a}", 5)
        ),
        (
            {"fastapi_basic_auth_paths": ["/"], "fastapi_basic_auth_users": [HASH]},
            "fastapi_basic_auth_users is a list; use a mapping of names to bcrypt hashes of passwords.",
        ),
        *(
            (
                {"fastapi_secrets_as_files": True, **values},
                f"{what}, and fastapi_secrets_as_files is true{why}",
            )
            for values, what, why in (
                (
                    {"fastapi_env": {"COMPOSE": "hush"}},
                    "fastapi_env has the name COMPOSE",
                    ": COMPOSE_FILE would change what Compose does; use another name.",
                ),
                (
                    {"fastapi_database_env": {"url": "COMPOSE"}},
                    "fastapi_database_env.url is COMPOSE",
                    ": COMPOSE_FILE would change what Compose does; use another name.",
                ),
                (
                    {"fastapi_database_env": {"host": "PG_FILE", "password": "PG"}},
                    "fastapi_database_env.password is PG",
                    ": PG_FILE is set already, by fastapi_database_env; use another name.",
                ),
                (
                    {"fastapi_database_env": {"user": "A_FILE"}, "fastapi_env": {"A": "hush"}},
                    "fastapi_env has the name A",
                    ": A_FILE is set already, by fastapi_database_env; use another name.",
                ),
                (
                    {"fastapi_env": {"A" * 201: "hush"}},
                    f"fastapi_env has the name {'A' * 79}…",
                    ", so that it names a file; use at most 200 characters.",
                ),
            )
        ),
        (
            {"fastapi_basic_auth_paths": ["/"]},
            "fastapi_basic_auth_paths is set and fastapi_basic_auth_users is empty, so that nobody could pass; name somebody.",
        ),
        (
            {"fastapi_basic_auth_users": {"me": HASH}},
            "fastapi_basic_auth_users is set and fastapi_basic_auth_paths is empty, so that nobody is asked; name the paths.",
        ),
        (
            {"fastapi_tls": "internal"},
            "fastapi_tls is internal and fastapi_domain is not set; set it, or leave fastapi_tls at auto.",
        ),
        (
            {"fastapi_domain": "shop.example.com", "fastapi_port": "443"},
            "fastapi_port is 443, which the front door takes for fastapi_domain by itself; leave fastapi_port out.",
        ),
        (
            {"fastapi_source_version": "v1"},
            "fastapi_source_version is v1 and fastapi_source is /srv/shop, a folder, which is taken as it is; "
            "use a git URL, or leave fastapi_source_version out.",
        ),
        (
            {"fastapi_database_env": {"user": "PGUSER"}, "fastapi_env": {"PGUSER": "x"}},
            "fastapi_env.PGUSER is set by the stack to the database's user; "
            "use another name, or leave it out of fastapi_database_env.",
        ),
        (
            {"fastapi_postgres_settings": {"max_connections": 69}, "fastapi_workers": 2, "fastapi_database_pool": "15"},
            "fastapi_postgres_settings.max_connections is 69, and two slots of 2 workers with 15 connections each need 70; "
            "use at least that, or fewer fastapi_workers or a smaller fastapi_database_pool.",
        ),
        (
            {"fastapi_image_variant": "minimal", "fastapi_dockerfile": "Dockerfile"},
            "fastapi_image_variant is minimal and fastapi_dockerfile is set, which says itself what the image is; "
            "leave one of them out.",
        ),
        (
            {"fastapi_restore_target_time": "2026-01-31T02:30:00Z"},
            "fastapi_restore_target_time is 2026-01-31T02:30:00Z, and fastapi_pitr_enabled is false; give the archive that the "
            "stack is deployed with, or restore a dump with fastapi_restore_from.",
        ),
        (
            {
                "fastapi_pitr_enabled": True,
                "fastapi_restore_target_time": "2026-01-31T02:30:00Z",
                "fastapi_restore_from": "20260131T023000Z.dump",
            },
            "fastapi_restore_target_time is 2026-01-31T02:30:00Z, and fastapi_restore_from is 20260131T023000Z.dump, a dump, "
            "which is of one moment; leave one of them out.",
        ),
        (
            {"fastapi_pitr_enabled": True, "fastapi_database_host": "db.example.com"},
            "fastapi_pitr_enabled is true, and fastapi_database_host names a database that is not the stack's own; have its "
            "provider archive it, and leave fastapi_pitr_enabled out.",
        ),
        (
            {
                "fastapi_database_host": "db.example.com",
                "fastapi_database_migrator_user": "a@b",
                "fastapi_database_migrator_password": "p",
            },
            f"fastapi_database_migrator_user is a@b; {IDENTIFIER}",
        ),
        (
            {"fastapi_database_host": "db.example.com", "fastapi_database_migrator_user": "keeper"},
            "fastapi_database_migrator_user is keeper, and fastapi_database_migrator_password is not set; give both, or neither.",
        ),
        (
            {"fastapi_database_host": "db.example.com", "fastapi_database_migrator_password": "p"},
            "fastapi_database_migrator_password is set, and fastapi_database_migrator_user is not; give both, or neither.",
        ),
        (
            {"fastapi_database_migrator_user": "keeper", "fastapi_database_migrator_password": "p"},
            "fastapi_database_migrator_user is keeper, and fastapi_database_host is not set: the stack's own database belongs to "
            "the application's role; leave it out.",
        ),
        (
            {
                "fastapi_database_host": "db.example.com",
                "fastapi_database_migrator_user": "keeper",
                "fastapi_database_migrator_password": "p",
                "fastapi_database_env": {"host": "DB_HOST", "password": "DB_PASSWORD"},
            },
            "fastapi_database_migrator_user is keeper, and fastapi_database_env names neither url nor both user and password, so "
            "that a migration would not get its login; name them.",
        ),
        (
            {
                "fastapi_database_host": "db.example.com",
                "fastapi_database_user": "app",
                "fastapi_database_migrator_user": "app",
                "fastapi_database_migrator_password": "p",
            },
            "fastapi_database_migrator_user is app, as is fastapi_database_user; give another role, or leave it out.",
        ),
        (
            {"fastapi_pitr_enabled": True, "fastapi_backup_schedule": ""},
            "fastapi_pitr_enabled is true, and fastapi_backup_schedule is empty, so that the archive would grow without end; "
            "give a schedule.",
        ),
        (
            {"fastapi_backup_copy_to": "/opt/app/backups/"},
            "fastapi_backup_copy_to is /opt/app/backups/, and fastapi_root is /opt/app, whose files are no copies; use a folder "
            "elsewhere, such as a mount.",
        ),
        (
            {"fastapi_pitr_enabled": True, "fastapi_postgres_settings": {"archive_timeout": 5}},
            "fastapi_postgres_settings.archive_timeout is set, and fastapi_pitr_enabled is true, which sets it itself; leave it "
            "out, and use fastapi_pitr_archive_timeout.",
        ),
        (
            {"fastapi_pitr_enabled": True, "fastapi_postgres_settings": {"wal_level": "minimal"}},
            "fastapi_postgres_settings.wal_level is minimal, and fastapi_pitr_enabled needs replica; leave it out.",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: dict[str, Any], message: str) -> None:
    assert settings.problems(DEFAULTS | values) == [message]


def test_a_number_of_any_length_is_refused() -> None:
    (said,) = settings.problems(DEFAULTS | {"fastapi_domain": "shop.example.com", "fastapi_port": 10**5000})
    assert said == "fastapi_port is a number; use 1 to 65535."
    given = {"fastapi_postgres_settings": {"max_connections": 10**5000}, "fastapi_workers": 2}
    (said,) = settings.problems(DEFAULTS | given)
    assert said == "fastapi_postgres_settings.max_connections is a number; use 1 to 262143."


@pytest.mark.parametrize("token", release.TOKENS)
def test_what_the_stack_fills_in_stands_in_no_value(token: str) -> None:
    for name, value in (
        ("fastapi_env", {"A": f"x{token}"}),
        ("fastapi_migrate_command", ["sh", token]),
        ("fastapi_database_password", token),
    ):
        said = settings.problems(DEFAULTS | {name: value})
        assert said == [f"{name} holds {token}, which stands for what the stack fills in; use other text."]


def test_all_problems_are_told_at_once() -> None:
    assert len(settings.problems(DEFAULTS | {"fastapi_port": 0, "fastapi_name": "X", "fastapi_tls": "off"})) == 3


def test_credentials_in_a_url_are_not_shown() -> None:
    (said,) = settings.problems(DEFAULTS | {"fastapi_source": "ftp://me:hunter2@git.example/shop"})
    assert "hunter2" not in said and "ftp://…@git.example/shop" in said


@pytest.mark.parametrize("login", ["me:hunter2", *(f"{'hunter2_' * 5}{end}" for end in ("", ":", ":x-oauth-basic", ".e30.x"))])
def test_a_password_in_the_url_of_the_source_is_refused_and_not_shown(login) -> None:
    (said,) = settings.problems(DEFAULTS | {"fastapi_source": f"https://{login}@git.example/shop"})
    assert "hunter2" not in said and "take the password out of the URL" in said and "~/.netrc" in said
    for taken in (
        "https://me@git.example/shop",
        "ssh://APKAEIBAERJR2EXAMPLE@git.example/shop",
        "ssh://git@git.example:2222/shop",
        "git@git.example:me/shop",
    ):
        assert settings.problems(DEFAULTS | {"fastapi_source": taken}) == []


def test_a_long_value_is_cut() -> None:
    (said,) = settings.problems(DEFAULTS | {"fastapi_tls": "x" * 10_000})
    assert len(said) < 200


@pytest.mark.parametrize(
    ("image", "major"),
    [("postgres:17-trixie", 17), ("postgres:13", 13), ("reg.example:5000/x/postgres:16.4", 16), ("postgres:18_1", 18)],
)
def test_postgres_major(image: str, major: int) -> None:
    if "_" in image:
        # `_` may follow the number as well: tags have it where versions have `+`.
        image = f"{image}@sha256:{'0' * 64}"
    assert settings.postgres_major(image) == major


def test_postgres_major_says_what_it_found() -> None:
    with pytest.raises(ValueError, match=r"^postgres:12 has no tag that begins with a major version from 13 to 18$"):
        settings.postgres_major("postgres:12")


@pytest.mark.parametrize(
    ("source", "expected"),
    [("https://x/y", True), ("git@host:x", True), ("/a@b/c:d", False), ("../shop", False), ("C:/x", False), ("a b@c:d", False)],
)
def test_is_git_url(source: str, expected: bool) -> None:
    assert settings.is_git_url(source) is expected
    # The tasks fetch what is one by the same rule.
    fetched = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))["__fastapi_source_is_git"]
    assert f"match('({settings.GIT_URL.pattern})')" in fetched


def test_every_public_variable_has_a_rule() -> None:
    documented = set(re.findall(r"^(?:# )?(fastapi_[a-z_]+):", (ROLE / "defaults" / "main.yml").read_text("utf-8"), re.MULTILINE))
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text("utf-8"))["argument_specs"]
    for spec in specs.values():
        documented |= set(spec.get("options", {}))
    assert set(settings.RULES) == documented
    assert set(settings.RENAMED.values()) <= documented
    assert DEFAULTS["fastapi_database_env"] == settings.DATABASE_ENV


LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([400, 5000]).map(lambda digits: 10**digits)
)
ANYTHING = st.recursive(LEAF, lambda inner: st.lists(inner) | st.dictionaries(LEAF, inner), max_leaves=6)
NAMES = st.sampled_from([*settings.RULES, *settings.RENAMED, "fastapi_unknown", "fastapi_\ud800"])


@given(st.dictionaries(NAMES, ANYTHING, max_size=6))
def test_anything_gives_messages_that_can_be_printed(values: dict[str, Any]) -> None:
    for said in settings.problems(values):
        assert isinstance(said, str) and said.startswith("fastapi_") and said.endswith((".", "?"))
        assert said.isprintable() and said.encode()


@given(st.text(st.characters(), max_size=5), st.sampled_from(["", "\n", "\0", "\ud800"]), st.booleans())
def test_secrets_are_never_told(around: str, end: str, number: bool) -> None:
    marker = "5381004729" if number else "canary"
    secret: Any = int(marker) if number else f"{around}{marker}{around}{end}"
    for name, value in (
        ("fastapi_database_password", secret),
        ("fastapi_database_password", [secret]),
        ("fastapi_env", secret),
        ("fastapi_env", {"A": secret, "WEB_CONCURRENCY": secret, "DB_HOST": secret, "COMPOSE_X": secret}),
        ("fastapi_build_secrets", secret),
        ("fastapi_build_secrets", {"netrc": secret, "x": secret}),
    ):
        assert not any(marker in said for said in settings.problems({name: value}))
