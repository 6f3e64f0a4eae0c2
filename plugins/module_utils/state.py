# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What the state of a stack on a host, as the module stack_info returns it, says about a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.release import SLOTS


def other_slot(slot: str) -> str:
    """Return the slot that is not the given one, the first of the two for ""."""
    return next(other for other in SLOTS if other != slot)


def slot_for(host: Mapping[str, Any], identity: str) -> str:
    """Return the slot for a release: the one that it runs in, unless that is live and does not answer, else the idle one.

    What does not answer may lack what nobody gives back to a container that runs, such as a network. A new password of the
    database reaches a new container only, and one that was made by hand is not put right while it serves.
    """
    for slot in (host["live"], *SLOTS):
        service = host["services"].get(f"app-{slot}", {})
        runs = service.get("release") == identity and service["status"] == "running" and as_recorded(host, slot, identity)
        if runs and (slot != host["live"] or (host["answer"]["status"] == 200 and host["password"] != "other")):
            return slot
    return other_slot(host["live"])


def as_recorded(host: Mapping[str, Any], slot: str, identity: str) -> bool:
    """Tell whether the container in a slot is, in its settings, the one that a release was recorded with; True where none was."""
    record = host["releases"].get(identity) or {}
    return record.get("slot") != slot or record.get("hash") in (None, host["services"][f"app-{slot}"].get("hash"))


def last_good(records: Mapping[str, Mapping[str, Any]], current: str) -> str:
    """Return the id of the release that served last before the current one and was not rolled back from, "" for none.

    ``records`` are those of the releases by id, {} for one that never served.
    """
    good = [name for name, record in records.items() if record and name != current and not record.get("rolled_back")]
    return max(good, key=lambda name: records[name].get("number", 0), default="")


def runs_as_expected(host: Mapping[str, Any], slot: str, identity: str) -> bool:
    """Tell whether just the services of the current release run, healthy, as its compose file has them, and it answers.

    The application is known by its release and what that was recorded with; Compose's own hash does not take its env_file in.
    """
    services, expected = host["services"], dict(host["expected"])
    expected.pop(f"app-{slot}", None)
    return (
        services.get(f"app-{slot}", {}).get("release") == identity
        and as_recorded(host, slot, identity)
        and set(services) == {f"app-{slot}", *expected}
        and not host["orphans"]
        and host["intact"]
        and host["password"] not in ("missing", "other")
        and host["answer"] in ({"status": 200, "slot": slot}, {"status": 200, "slot": ""})
        and not host["lock"]
        and not host["left_closed"]
        and not host["restoring"]
        and all(service["status"] == "running" for service in services.values())
        and all(service["health"] in ("healthy", "") for service in services.values())
        and all(services[name]["hash"] == wanted for name, wanted in expected.items())
    )


def steps(
    host: Mapping[str, Any],
    plan: Mapping[str, Any],
    hashes: Mapping[str, str],
    has_image: bool,
    pending: str,
    fleet: bool = False,
) -> list[str]:
    """Return what a deploy of the plan is going to do, one line each; [] for nothing.

    ``hashes`` are those of the plan's compose file by service, {} where they are not known, ``pending`` what is to be migrated;
    with a ``fleet`` other hosts change together with this one.
    """
    if plan["converged"]:
        return []
    services = host["services"]
    own, kept = f"app-{plan['slot']}", ["proxy"] if plan["database"] else ["db", "proxy"]
    lines = [] if plan["id"] in host["releases"] else [f"release {plan['id']}: bring it to the host"]
    missing = "build, or have it from a host that does" if fleet else "build"
    lines.append(f"image {plan['image']}: {'there already' if has_image else missing}")
    lines += [f"{name}: {what}" for name, what in ((name, _fate(services.get(name), hashes.get(name))) for name in kept) if what]
    lines.append(f"migrations: {pending}")
    if services.get(own, {}).get("release") != plan["id"]:
        lines.append(f"{own}: {'create in place of what is left there' if own in services else 'create'}")
    elif services[own]["status"] != "running":
        lines.append(f"{own}: start")
    if host["current"] and not host["intact"]:
        lines.append(f"files of the release {host['current']}: put right what was changed by hand")
    if host["live"] != plan["slot"]:
        lines.append(f"front door: from {host['live'] or 'nothing'} to {plan['slot']}")
    if host["left_closed"]:
        lines.append("front door: open, which a change that was cut off has left closed")
    lines += [f"{name}: stop and remove" for name in sorted(services) if name.startswith("app-") and name != own]
    lines += [f"{name}: remove, left over from an interrupted change" for name in host["orphans"]]
    if host["restoring"] not in ("", host["volume"]["name"]):
        lines.append(f"volume {host['restoring']}: remove, left over from a restore or an upgrade that was cut off")
    if plan["database"]:
        return [*lines, f"database on {plan['database']['host']}: untouched but by the migrations"]
    return [*lines, *_data(host, plan)]


def _data(host: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Say what happens to the data."""
    volume = host["volume"]["name"]
    if not plan.get("upgrade") and not plan.get("volume"):
        return [f"volume {volume}: {'untouched' if host['volume']['exists'] else 'create'}"]
    as_it_is = host["maintenance"] and not host["left_closed"]
    door = "closed meanwhile, as it is" if as_it_is else "closed for maintenance meanwhile: 503 for everybody"
    if plan.get("volume"):
        return [
            f"front door: {door}",
            f"volume {plan['volume']}: live again, as it was before the upgrade; what was written since is not in it",
            f"volume {volume}: stays, with the data of PostgreSQL {host['volume']['major']}",
        ]
    backups, proof = (host["backups"].get(part) for part in ("backups", "proof"))
    took = [f"the last dump took {backups[0]['seconds']:g} s"] if backups else []
    took += [f"the last restore of one {proof['seconds_restore']:g} s"] if proof and proof.get("seconds_restore") else []
    return [
        f"front door: {door}, for as long as a dump and a restore take{' (' + ', '.join(took) + ')' if took else ''}",
        f"data: from PostgreSQL {host['volume']['major']} into a new volume, by {plan['postgres_image']}, and compared",
        f"volume {volume}: stays as it is, for the way back",
    ]


def _fate(service: Mapping[str, Any] | None, wanted: str | None) -> str:
    """Say what happens to the container of a service, "" for nothing."""
    if service is None:
        return "create"
    if wanted and service["hash"] != wanted:
        return "recreate with its new settings"
    return "" if service["status"] == "running" else "start"
