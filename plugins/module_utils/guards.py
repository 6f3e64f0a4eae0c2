# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What a host must be like before a deploy touches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.dumps import SUPERUSER
from ansible_collections.drydock.stack.plugins.module_utils.engine import numbers
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_major

# start_interval of a health check needs this engine; the Compose file's notation needs this Compose.
ENGINE_NEEDED = (25,)
COMPOSE_NEEDED = (2, 24)
BUILDX_NEEDED = (0, 10)
GIGABYTE = 10**9


def refusals(
    host: Mapping[str, Any], settings: Mapping[str, Any], earlier: bool = False, upgrade: bool = False, restored: bool = False
) -> list[str]:
    """Return why the stack cannot be deployed on the host, one message each; [] where it can.

    ``host`` is what the module stack_info returned; ``settings`` are the role's public variables. An ``earlier`` release has
    run there with settings of its own, so that those of a new one do not count. An ``upgrade`` takes the data to the
    image's major version. What was ``restored`` just now need not be proven first.
    """
    if host["user"] != 0:
        return ["The deploy runs without the rights of root on the host; use `become: true`."]
    if host["engine"]["problem"]:
        return [f"The engine cannot be asked ({host['engine']['problem']}); start it, or let the role docker_host do so."]
    if host["engine"]["rootless"]:
        return [
            "The engine is rootless, and what belongs to the users in a stack's containers would belong to others on the host; "
            "use one that runs as root."
        ]
    return [
        *engine(host["engine"]),
        *disk(host["disk"], settings),
        *lost(host, settings, earlier),
        *(
            []
            if earlier
            else [
                *ports(host, settings),
                *ca_bundle(host, settings),
                *sample(host, settings),
                *data(host, settings, upgrade),
                *([] if restored else proof(host, settings)),
                *([host["archive_problem"]] if host["archive_problem"] else []),
            ]
        ),
    ]


def engine(found: Mapping[str, Any]) -> list[str]:
    needed = [
        ("Docker Engine", found["server"], ENGINE_NEEDED),
        ("The compose plugin", found["compose"], COMPOSE_NEEDED),
        ("The buildx plugin", found["buildx"], BUILDX_NEEDED),
    ]
    return [
        f"{name} is {told or 'missing'}; {'.'.join(map(str, least))} or later is needed: update it."
        for name, told, least in needed
        if not told or numbers(told) < least
    ]


def disk(free: Mapping[str, int], settings: Mapping[str, Any]) -> list[str]:
    needed = float(settings["fastapi_disk_required"])
    least = min(free.values())
    if least >= needed * GIGABYTE:
        return []
    return [
        f"fastapi_disk_required is {needed:g} GB and the host has {least / GIGABYTE:.1f} GB free; "
        "make room (`docker system df` says what the engine holds), or lower it."
    ]


def ports(host: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    remedy = (
        "stop it, as a server has one stack with fastapi_domain, or leave that out for one more"
        if settings.get("fastapi_domain")
        else "stop it, or choose another fastapi_port"
    )
    return [f"The front door's port {port.strip(':')} is taken by {who}; {remedy}." for port, who in host["ports_taken"].items()]


def ca_bundle(host: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    if not host["ca_bundle_missing"]:
        return []
    return [
        f"fastapi_build_ca_bundle is {settings['fastapi_build_ca_bundle']} and the host has no such file; "
        'install ca-certificates there, name another, or use "" for none.'
    ]


def sample(host: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Refuse the sample application in place of a user's own: somebody forgot to name the source."""
    record = host["releases"].get(host["current"], {})
    if not is_sample(settings["fastapi_source"]) or record.get("sample", True):
        return []
    return [
        f"fastapi_source is the sample application, as it is not given, and the stack {settings['fastapi_name']} runs "
        "another one; name its source."
    ]


def is_sample(source: str) -> bool:
    """Tell whether a source is the collection's own sample application, fastapi_source's default."""
    return Path(source).resolve() == Path(__file__).resolve().parents[2] / "files" / "sample_app"


def place(host: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Refuse a database that is not where it was before, as the application would find none of its data there."""
    elsewhere, volume = settings.get("fastapi_database_host"), host["volume"]
    before = host["releases"].get(host["current"], {}).get("database", {}).get("host")
    if elsewhere and volume["exists"]:
        yield (
            f"fastapi_database_host is {elsewhere} and the volume {volume['name']} holds this stack's own database; leave it "
            f"out, or move the data over, stop the stack with the playbook remove, and `docker volume rm {volume['name']}`."
        )
    if before and not elsewhere:
        yield (
            f"fastapi_database_host is not set and the stack {settings['fastapi_name']} uses the database on {before}; name it, "
            "or take the stack away with the playbook remove first."
        )
    if elsewhere and host["database_problem"]:
        yield (
            f"fastapi_database_host is {elsewhere} and port {settings['fastapi_database_port']} there takes no connection from "
            f"the host ({host['database_problem']}); start it, or name another."
        )
    if elsewhere and host["password"] == "missing" and not settings.get("fastapi_database_password"):
        yield f"fastapi_database_host is {elsewhere} and there is no password for it; give it as fastapi_database_password."


def proof(host: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Refuse to change a stack whose backups nobody has restored for too long."""
    days, proven = int(settings["fastapi_require_proven_restore_days"]), host["proven_days"]
    if not days or not host["current"] or 0 <= proven <= days:
        return []
    found = f"{proven:.1f} days ago" if proven >= 0 else "never"
    return [
        f"fastapi_require_proven_restore_days is {days}, and a backup of {settings['fastapi_name']} was last restored with "
        f"success {found}; run the playbook drill, or give fastapi_drill_schedule."
    ]


def whole(host: Mapping[str, Any]) -> list[str]:
    """Return the other volumes of a stack that hold all of its data of some time."""
    return [volume for volume in host["other_volumes"] if volume != host["partial"]]


def lost(host: Mapping[str, Any], settings: Mapping[str, Any], earlier: bool) -> list[str]:
    """Refuse to make an empty database in place of one that is gone, or to take a part of the data for all of it."""
    volume, name, others = host["volume"], settings["fastapi_name"], whole(host)
    root, own = settings["fastapi_root"], earlier or not settings.get("fastapi_database_host")
    if own and host["partial"] == volume["name"]:
        return [
            f"A restore of {name} was cut off, and the volume {volume['name']} holds a part of the data; run the playbook "
            f"restore again, or begin without it: `docker volume rm {volume['name']}; rm {root}/restoring`."
        ]
    if volume["exists"] or not own or not (volume["lost"] or (others and not earlier)):
        return []
    ways = [f"write the name of the one to use into {root}/volume ({', '.join(others)})"] if others else []
    ways.append(f"run the playbook restore with fastapi_restore_confirm: {name}")
    if not others:
        ways.append(
            f"where it is meant to be gone, take what is left away with the playbook remove and fastapi_remove_data: {name}"
        )
    return [
        f"The data of {name} was in the volume {volume['name']}, which is gone, and a deploy would make an empty database; "
        f"{', or '.join(ways)}."
    ]


def data(host: Mapping[str, Any], settings: Mapping[str, Any], upgrade: bool = False) -> list[str]:
    volume, root = host["volume"], settings["fastapi_root"]
    found = list(place(host, settings))
    elsewhere = sorted(
        {service["folder"] for service in host["services"].values() if not service["folder"].startswith(f"{root}/")}
    )
    if elsewhere:
        found.append(
            f"fastapi_root is {root} and the containers of the stack {settings['fastapi_name']} were made from {elsewhere[0]}; "
            "use the root of before, or another name for another stack."
        )
    if volume["stack"] not in ("", settings["fastapi_name"]):
        found.append(
            f"The volume {volume['name']} holds the data of the stack {volume['stack']}; write the name of one of "
            f"{settings['fastapi_name']} into {root}/volume ({', '.join(whole(host)) or 'there is none'})."
        )
    wanted = postgres_major(settings["fastapi_postgres_image"])
    if volume["major"] and int(volume["major"]) != wanted and not (upgrade and int(volume["major"]) < wanted):
        newer = int(volume["major"]) < wanted
        found.append(
            f"fastapi_postgres_image is {settings['fastapi_postgres_image']} and the volume {volume['name']} holds data of "
            f"PostgreSQL {volume['major']}; use an image of that version"
            + (", or take the data over with the playbook upgrade_postgres." if newer else ".")
        )
    for part in ("database", "user"):
        wanted = settings[f"fastapi_database_{part.replace('database', 'name')}"]
        if volume[part] and volume[part] != wanted:
            found.append(
                f"fastapi_database_{part.replace('database', 'name')} is {wanted} and the volume {volume['name']} was made with "
                f"{volume[part]}; use that one."
            )
    if settings["fastapi_database_user"] == SUPERUSER and not volume["major"] and not settings.get("fastapi_database_host"):
        found.append(
            f"fastapi_database_user is {SUPERUSER}, which is the superuser of a new database, and the application's role is to "
            "own its database alone; use another name."
        )
    if volume["major"] and host["password"] == "missing" and not settings.get("fastapi_database_password"):
        found.append(
            f"The volume {volume['name']} holds data and {settings['fastapi_root']}/secrets/database_password is missing; "
            "give the password that it was made with as fastapi_database_password."
        )
    if host["rotating"]:
        found.append(
            f"A rotation of the database's password of {settings['fastapi_name']} was cut off; run the playbook rotate_password "
            "again, which ends it."
        )
    elif host["password"] == "other" and not settings.get("fastapi_database_host"):
        found.append(
            f"fastapi_database_password is not the one in {settings['fastapi_root']}/secrets/database_password, which the "
            "database was made with; leave it out, give that one, or have the playbook rotate_password "
            "change it."
        )
    return found
