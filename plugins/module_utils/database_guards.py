# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What a database tells of itself that a deploy is refused for, or that an operator is to look into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import postgres
from ansible_collections.drydock.stack.plugins.module_utils.postgres import Database

# Of the connections that there may be, the part from which on few are left for a second slot.
NEAR = 0.8
# Of the size that WAL is to have, the part that it may take in the middle of a checkpoint.
OVERRUN = 1.1
# Bytes of WAL that whoever reads a slot may be behind while it is away for a moment.
HELD = 16 * 2**20
GIGABYTE = 10**9
HOLDERS = "SELECT application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2;"


def ask(database: Database, secret: str) -> tuple[dict[str, Any], list[str]]:
    """Return the facts of a database, {} where it does not answer, and what is to be looked into; raises LoginError."""
    try:
        facts = postgres.facts(database, secret)
    except postgres.LoginError as error:
        raise postgres.LoginError(refusal(database, str(error))) from error
    except postgres.DatabaseError as error:
        return {}, [f"{name_of(database)} cannot be asked: {error}"]
    return facts, warnings(facts, database)


def name_of(database: Database) -> str:
    if database.external:
        return f"The database {database.external['name']} on {database.external['host']}"
    return f"The database of {database.stack}"


def refusal(database: Database, said: str) -> str:
    """Say what is to be done where the database does not take the host's password, or has another name."""
    if database.external:
        return (
            f"{name_of(database)} does not take the role {database.external['user']} with its password: {said}. Give what it has "
            "there as fastapi_database_password; name and role are fastapi_database_name and fastapi_database_user."
        )
    found = f"{name_of(database)} does not take its role over TCP with the password in {database.root}/secrets/database_password"
    if "password" in said:
        return f"{found}: {said}. The playbook rotate_password gives another one to both, and nobody has to know the one of now."
    return (
        f"{found}: {said}. The volume holds other data; give the names of that as fastapi_database_name and "
        "fastapi_database_user, or have this stack's data back with the playbook restore."
    )


def warnings(facts: Mapping[str, Any], database: Database) -> list[str]:
    """Return what is to be looked into, one line each, with what was found, what is expected and what mends it."""
    return [
        *superuser(facts, database),
        *collation(facts),
        *checksums(facts, database),
        *connections(facts, database),
        *slots(facts["slots"]),
        *archiver(facts["archiver"]),
        *wal(facts["wal"]),
    ]


def superuser(facts: Mapping[str, Any], database: Database) -> Iterator[str]:
    if facts["superuser"]:
        yield (
            f"{name_of(database)} was made by an earlier version, with the application's role {database.user} as the superuser, "
            "and a role that owns its database alone is expected: whoever takes the application over has all of the server. A "
            "restore without a manifest makes it so, in a new volume: have a backup made, copy its .dump and its .globals.sql "
            f"from {database.root}/backups to another folder of the host, and give that .dump to the playbook restore as "
            "fastapi_restore_from. What is written after the backup is not in it."
        )


def collation(facts: Mapping[str, Any]) -> Iterator[str]:
    name, found = facts["database"], facts["collation"] or {}
    # Code points have none.
    if found.get("made") and found["now"] and found["made"] != found["now"]:
        yield (
            f"The collation of the database {name} was of version {found['made']} when its indexes were made, and is "
            f"{found['now']} in this image: what is there may not be found. Run with the playbook psql: "
            f"REINDEX DATABASE CONCURRENTLY {name}; ALTER DATABASE {name} REFRESH COLLATION VERSION;"
        )


def checksums(facts: Mapping[str, Any], database: Database) -> Iterator[str]:
    if facts["checksums"] == "on":
        return
    remedy = (
        "have who runs it turn them on by pg_checksums."
        if database.external
        else f"with the database away meanwhile, run on the host, as root: cd {database.root}/current && "
        "docker compose stop db && docker compose run --rm --no-deps --entrypoint pg_checksums db --enable; "
        "docker compose start db"
    )
    yield (
        f"{name_of(database)} has data_checksums {facts['checksums']}, and on is expected: what a disk damages is read as if it "
        f"were right; {remedy}"
    )


def connections(facts: Mapping[str, Any], database: Database) -> Iterator[str]:
    taken, most = facts["connections"], facts["max_connections"]
    if taken < NEAR * most:
        return
    remedy = "have who runs it raise that" if database.external else f"give fastapi_postgres_settings max_connections: {most * 2}"
    yield (
        f"{taken} connections of the {most} of max_connections are taken, and an update needs some for two slots. The playbook "
        f"psql says who holds them: {HOLDERS} End those that nobody needs, or {remedy}."
    )


def slots(found: list[Mapping[str, Any]]) -> Iterator[str]:
    for slot in found:
        held = int(slot["bytes"] or 0)
        drop = f"with the playbook psql: SELECT pg_drop_replication_slot('{slot['name']}');"
        if slot["status"] == "lost":
            yield (
                f"The replication slot {slot['name']} has lost WAL that its reader needs (wal_status is lost, not reserved); set "
                f"the reader up anew, and drop the slot {drop}"
            )
        elif slot["status"] != "reserved" or (not slot["active"] and held >= HELD):
            reader = "its reader is behind" if slot["active"] else "nobody reads it"
            yield (
                f"The replication slot {slot['name']} holds {size(held)} of WAL back (wal_status is {slot['status']}), and "
                f"{reader}: the disk fills. Bring its reader back, or drop it {drop}"
            )


def archiver(found: Mapping[str, Any]) -> Iterator[str]:
    if found["failing"]:
        yield (
            f"WAL is not archived: {found['wal']} failed, the last one that did not was at {found['last'] or 'no time'}, and "
            f"{found['failed']} attempts failed in all. What is not archived is kept, and the disk fills. Mend what the log "
            "says, by the playbook logs with fastapi_logs_service: db."
        )


def wal(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found and found["bytes"] > OVERRUN * found["limit"]:
        yield (
            f"pg_wal has {size(found['bytes'])}, and {size(found['limit'])} are expected, as max_wal_size and wal_keep_size say. "
            "Where no slot and no archiver holds it back, more is written than checkpoints keep up with: run CHECKPOINT with the "
            "playbook psql, and give fastapi_postgres_settings a larger max_wal_size if it comes back."
        )


def size(number: float) -> str:
    return f"{number / GIGABYTE:.1f} GB" if number >= GIGABYTE else f"{number / 10**6:.0f} MB"
