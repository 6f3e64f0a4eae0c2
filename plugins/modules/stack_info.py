#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_info
short_description: Read all that a deploy needs to know of a host
version_added: "0.1.0"
description:
  - Reads the engine, the containers, images, volume and networks of a stack, its releases, the ports and the disk, in one call.
  - Touches nothing, and fails only where it may not read; an engine that cannot be asked is told in C(engine.problem).
options:
  ports:
    description: Ports that the front door is to publish, as C(address:port), C(:port) or C([address]:port).
    type: list
    elements: str
    default: []
  ca_bundle:
    description: File of CA certificates that the build is to trust.
    type: path
  probe:
    description: How to ask the front door, C(address), C(port), C(host), C(path), C(tls), C(header); left out, it is not asked.
    type: dict
  database:
    description: C(host) and C(port) of a database that is not the stack's own, {} for none.
    type: dict
    default: {}
  ask_database:
    description: Whether to ask the database what is to be looked into in it.
    type: bool
    default: false
  schedule:
    description: Whether to tell if the host backs the stack up by itself, as the variables of the role have it.
    type: bool
    default: false
  backup:
    description: What the role's variables say about backups; set by the controller's part of this module.
    type: dict
  rclone_config:
    description: Configuration of rclone for the copies; set by the controller's part of this module.
    type: str
    default: ""
  database_password:
    description: The password to compare with the one that the host keeps; set by the controller's part of this module.
    type: str
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Read the host
  drydock.stack.stack_info:
    name: shop
    root: /opt/shop
    ports: ["127.0.0.1:8000"]
  register: host
"""

RETURN = r"""
engine:
  description:
    - Versions C(server), C(compose), C(buildx); C(root) folder; C(rootless); C(platform); C(processors); C(memory) in bytes;
      C(problem) or "".
  returned: always
  type: dict
releases:
  description: By id, what C(release.json) of the releases on the host says, {} for one that never served.
  returned: always
  type: dict
intact:
  description: Whether the files of the current release, and of the front door, are as they were written.
  returned: always
  type: bool
lock:
  description: The lock of the run that changes the stack, or {}.
  returned: always
  type: dict
last_run:
  description: The record of the last run that changed the stack, or {}.
  returned: always
  type: dict
maintenance:
  description: When the front door was closed for maintenance, in UTC, or "".
  returned: always
  type: str
left_closed:
  description: Whether a run closed it, which opens it again; where none is at work, one that was cut off.
  returned: always
  type: bool
current:
  description: Id of the release that C(current) points to, or "".
  returned: always
  type: str
live:
  description: The live slot, or "".
  returned: always
  type: str
services:
  description:
    - By service, C(id), C(image), C(status), C(health) ("" where it has no check), C(hash), C(release), C(caddyfile), C(folder),
      C(initdb) and C(superuser) (what a database is made with in it).
  returned: always
  type: dict
orphans:
  description: Containers of the stack that Compose left behind in the middle of a change.
  returned: always
  type: list
  elements: str
expected:
  description: By service, the configuration hash that the compose file of the current release gives.
  returned: always
  type: dict
images:
  description:
    - By reference, C(id) and C(size) in bytes of the images of the containers, and C(layers), which an image that has them in
      common need not bring; [] where the engine's store of images wants them all the same.
  returned: always
  type: dict
volume:
  description:
    - C(name), C(exists), C(lost) where the current release had its data there and it is gone, C(major) version of the data or "",
      C(database), C(user) and C(stack) that it was made with or "".
  returned: always
  type: dict
database_problem:
  description: Why a database that is not the stack's own takes no connection from the host, or "".
  returned: always
  type: str
database_warnings:
  description: What is to be looked into in the database, one line each; [] where it was not asked.
  returned: always
  type: list
  elements: str
other_volumes:
  description: Names of the volumes with data of the stack's that is not live, as a restore leaves them behind.
  returned: always
  type: list
  elements: str
front:
  description: C(subnet) of the network between the front door and the application, and the front door's address in it, C(proxy).
  returned: always
  type: dict
ports_taken:
  description: For each given port that somebody else has, who has it.
  returned: always
  type: dict
answer:
  description: What the front door answers, C(status) and C(slot); 0 and "" where it was not asked.
  returned: always
  type: dict
disk:
  description: Free bytes where the engine keeps its data, and where the stack's folder is.
  returned: always
  type: dict
user:
  description: The user id that the host was read as.
  returned: always
  type: int
ca_bundle_missing:
  description: Whether there is no file where the CA bundle is said to be.
  returned: always
  type: bool
backups:
  description:
    - C(backups) on the host, the newest first, what the C(last) one and the last C(proof) came to, and C(problems), one line
      each; {} where no deploy has set them up.
  returned: always
  type: dict
archive:
  description:
    - The C(repository) of the archive, the times C(since) and C(until) that it can be restored to, how many segments are
      C(waiting) for it, its C(backups), the newest first, and C(problems), one line each; {} where there is none.
  returned: always
  type: dict
archive_problem:
  description: Why an archive cannot be begun where it is asked for, or "".
  returned: always
  type: str
proven_days:
  description: How many days ago a backup was restored with success, -1 for never.
  returned: always
  type: float
scheduled:
  description: Whether the host backs the stack up as it was asked for; true where it was not asked.
  returned: always
  type: bool
restoring:
  description: Name of the volume that a restore makes, or was cut off in making, or "".
  returned: always
  type: str
partial:
  description: Name of the volume that holds a part of the data, as a restore was cut off in filling it, or "".
  returned: always
  type: str
rotating:
  description: Whether a rotation of the database's password was begun and has not ended.
  returned: always
  type: bool
programs_missing:
  description: Programs that the copies of backups need and the host lacks.
  returned: always
  type: list
  elements: str
password:
  description: C(missing) where the host keeps none, C(kept) where it does and none was given, else C(same) or C(other).
  returned: always
  type: str
"""

import hmac
import ipaddress
import json
import os
import re
import shutil
import socket
import zlib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    archive,
    arguments,
    database_guards,
    docker_cli,
    dumps,
    engine,
    lock,
    maintenance,
    postgres,
    rotation,
    timers,
    volumes,
)
from ansible_collections.drydock.stack.plugins.module_utils.asking import Probe
from ansible_collections.drydock.stack.plugins.module_utils.ports import holder
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    RESTORING,
    STATIC,
    UNFILLED,
    VOLUME_TOKEN,
    filled,
    first_volume,
    live,
    live_volume,
    next_password,
    recorded,
)

# Seconds for the front door's answer; one that takes longer is looked into by the steps of a deploy.
ANSWER_TIMEOUT = 5
NO_VOLUME = {"exists": False, "lost": False, "stack": "", "major": "", "database": "", "user": ""}
NO_ENGINE = {
    "server": "",
    "compose": "",
    "buildx": "",
    "root": "",
    "rootless": False,
    "platform": "",
    "processors": os.cpu_count() or 1,
    "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
}
# Where the front door's network is made: sixteen addresses each, clear of what Docker hands out first.
FRONT_POOLS = [ipaddress.ip_network(pool) for pool in ("172.30.0.0/16", "10.217.0.0/16", "192.168.232.0/21")]


def releases(root):
    folder = root / "releases"
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
    return {entry.name: recorded(entry) for entry in entries}


def current(root):
    link = root / "current"
    return link.resolve().name if link.is_symlink() and link.exists() else ""


def intact(root, name):
    folder, password = root / "current", root / "secrets" / "database_password"
    try:
        return (
            len(live(root)) == 1
            and all(
                (folder / path).read_bytes() == data
                for path, data in filled(folder, live(root)[0], password.read_text(), live_volume(root, name)).items()
            )
            and (root / "proxy" / "Caddyfile").read_bytes() == (folder / "Caddyfile").read_bytes()
            and all((folder / name).exists() for name in ("Dockerfile", "source"))
            and (folder / STATIC).is_dir() == (root / "proxy" / STATIC / live(root)[0]).is_dir()
        )
    except FileNotFoundError:
        return False


def containers(name):
    ids = docker_cli.docker(
        "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={name}"
    ).split()
    return docker_cli.inspect("inspect", *ids) if ids else []


def describe(container):
    labels = container["Config"]["Labels"]
    variables = [variable.partition("=") for variable in container["Config"]["Env"] or []]
    return {
        "id": container["Id"],
        "name": container["Name"].lstrip("/"),
        "image": container["Config"]["Image"],
        "status": container["State"]["Status"],
        "health": container["State"].get("Health", {}).get("Status", ""),
        "hash": labels.get("com.docker.compose.config-hash", ""),
        "release": labels.get("drydock.release", ""),
        "folder": labels.get("com.docker.compose.project.working_dir", ""),
        "caddyfile": labels.get("drydock.caddyfile", ""),
        "initdb": next((value for name, _, value in variables if name == "POSTGRES_INITDB_ARGS"), ""),
        "superuser": next((value for name, _, value in variables if name == "POSTGRES_USER"), ""),
    }


def expected_hashes(root):
    folder = root / "current"
    if not (folder / "compose.yaml").exists():
        return {}
    told = docker_cli.docker("compose", "--project-directory", str(folder), "config", "--hash", "*", check=False)
    return dict(line.split() for line in told.splitlines() if line.strip())


def serves_on(folder, stack):
    """Tell whether the release has its database in the stack's volumes; templates of a user's own may have it elsewhere."""
    files = [folder / UNFILLED / "compose.yaml", folder / "compose.yaml"]
    texts = [file.read_text() for file in files if file.exists()]
    own = [VOLUME_TOKEN in text or first_volume(stack) in text for text in texts]
    return not recorded(folder).get("database") and (any(own) or not own)


def volume(name, root, stack):
    found = docker_cli.inspect("volume", "inspect", name)
    if not found:
        if name in docker_cli.volumes():
            raise docker_cli.EngineError(f"the volume {name} cannot be inspected")
        return {**NO_VOLUME, "name": name, "lost": bool(current(root)) and serves_on(root / "current", stack)}
    labels = found[0].get("Labels") or {}
    data = Path(found[0]["Mountpoint"])
    # Until 17 the data is the volume itself; from 18 it lies in a folder by its major version.
    versions = [data / "PG_VERSION", data / "data" / "PG_VERSION", *sorted(data.glob("*/docker/PG_VERSION"))]
    major = next((file.read_text().strip() for file in versions if file.is_file()), "")
    return {
        **NO_VOLUME,
        "name": name,
        "exists": True,
        "stack": labels.get("com.docker.compose.project", ""),
        "major": major,
        "database": labels.get("drydock.database", ""),
        "user": volumes.owner_by(labels, root),
    }


def data_volumes(name):
    told = docker_cli.docker(
        "volume", "ls", "--filter", f"label=com.docker.compose.project={name}", "--format", "{{ .Name }}"
    ).split()
    return sorted(found for found in told if re.fullmatch(rf"{re.escape(first_volume(name))}(_[0-9]+)?", found))


def subnets(*networks):
    """Return the IPv4 subnets of the networks that there are of these names or ids."""
    found = docker_cli.inspect("network", "inspect", *networks)
    given = [item["Subnet"] for network in found for item in network["IPAM"].get("Config") or [] if item.get("Subnet")]
    return [subnet for subnet in map(ipaddress.ip_network, given) if subnet.version == 4]


def routes():
    """Yield the networks that the host has a route to, the default route aside."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[column])[::-1], "big") for column in (1, 7))
        if mask:
            yield ipaddress.ip_network((address, bin(mask).count("1")), strict=False)


def front(name):
    """Return the front network's subnet and the front door's address: what there is, else the first that is free."""
    subnet = next(iter(subnets(f"{name}_front")), None) or next(free_subnets(name), None)
    if subnet is None:
        raise docker_cli.EngineError(f"no room for the front door's network is left in {', '.join(map(str, FRONT_POOLS))}")
    # Docker hands addresses out from the lower half; the front door's own is the last one.
    return {"subnet": str(subnet), "range": str(next(subnet.subnets())), "proxy": str(subnet[-2])}


def free_subnets(name):
    """Yield the subnets that overlap no other, from a place of the stack's own on: two new stacks rarely want the same."""
    taken = [*subnets(*docker_cli.docker("network", "ls", "--quiet", "--no-trunc").split()), *routes()]
    for pool in FRONT_POOLS:
        if any(pool.subnet_of(other) for other in taken):
            continue
        found = list(pool.subnets(new_prefix=28))
        start = zlib.crc32(name.encode()) % len(found)
        for subnet in found[start:] + found[:start]:
            if not any(subnet.overlaps(other) for other in taken):
                yield subnet


def kept_layers(image):
    """Return the layers that `docker load` takes for granted; containerd's store does not, and gives no `Data`."""
    return image["RootFS"].get("Layers") or [] if (image.get("GraphDriver") or {}).get("Data") else []


def images(references):
    if not references:
        return {}
    found = docker_cli.inspect("image", "inspect", *sorted(references))
    return {
        reference: {"id": image["Id"], "size": image["Size"], "layers": kept_layers(image)}
        for reference in references
        for image in found
        if reference in [*image["RepoTags"], *image["RepoDigests"]] or f"{reference}:latest" in image["RepoTags"]
    }


def answer(probe, root):
    status, slot, _ = Probe(probe, root).once(ANSWER_TIMEOUT) if probe else (0, "", "")
    return {"status": status, "slot": slot}


def unreachable(database):
    """Return why a database elsewhere takes no connection, "" where it does or is the stack's own."""
    if not database:
        return ""
    try:
        socket.create_connection((database["host"], int(database["port"])), ANSWER_TIMEOUT).close()
    except OSError as error:
        return str(error.strerror or error)
    return ""


def database_warnings(name, root, services, user):
    """Return what is to be looked into in the database that serves, [] where there is none."""
    external = recorded(root / "current").get("database", {})
    secret = next_password(root, None)
    if not secret or not (external or services.get("db", {}).get("status") == "running"):
        return []
    try:
        return database_guards.ask(postgres.Database(name, root, external, user), secret)[1]
    except postgres.LoginError as error:
        return [str(error)]


def existing(path):
    return next(folder for folder in (path, *path.parents) if folder.exists())


def backups(root):
    settings = dumps.read_json(root / dumps.SETTINGS)
    return dumps.listing(settings, root) if settings else {}


def archived(name, root):
    """Return how the archive of the database is, {} where there is none; the runs of its backups are told with the others."""
    settings = dumps.read_json(root / dumps.SETTINGS)
    return archive.health(settings, root) if settings.get("pitr") else {}


def proven_days(root):
    days = dumps.proven_days(dumps.read_json(root / "backups" / dumps.STATE), dumps.now())
    return -1 if days is None else round(days, 2)


def scheduled(root, wanted, rclone):
    try:
        return wanted is None or not timers.lacking(root, wanted, rclone)
    except timers.ScheduleError:
        return False


def programs_missing(wanted):
    needed = (["rclone"] if wanted["copy_to"] else []) + (["age"] if wanted["encrypt_to"] else []) if wanted else []
    return [program for program in needed if not engine.which(program)]


def password(root, given):
    file = root / "secrets" / "database_password"
    if not file.exists():
        return "missing"
    if not given:
        return "kept"
    return "same" if hmac.compare_digest(file.read_bytes(), given.encode()) else "other"


def read(parameters):
    name, root, bundle = parameters["name"], Path(parameters["root"]), parameters["ca_bundle"]
    result = {
        "engine": {**NO_ENGINE, "problem": ""},
        "services": {},
        "orphans": [],
        "expected": {},
        "images": {},
        "other_volumes": [],
        "volume": {**NO_VOLUME, "name": live_volume(root, name)},
        "answer": {"status": 0, "slot": ""},
        "database_problem": "",
        "archive": {},
        "front": {"subnet": "", "range": "", "proxy": ""},
    }
    try:
        told = docker_cli.together(
            engine=docker_cli.info,
            containers=lambda: containers(name),
            expected=lambda: expected_hashes(root),
            volume=lambda: volume(live_volume(root, name), root, name),
            other_volumes=lambda: [found for found in data_volumes(name) if found != live_volume(root, name)],
            front=lambda: front(name),
            answer=lambda: answer(parameters["probe"], root),
            database_problem=lambda: unreachable(parameters["database"]),
            archive=lambda: archived(name, root),
        )
    except (docker_cli.EngineError, json.JSONDecodeError) as error:
        result["engine"]["problem"] = str(error)
    else:
        found = told.pop("containers")
        told["images"] = images({container["Config"]["Image"] for container in found})
        result.update(told)
        result["engine"]["problem"] = ""
        for container in found:
            # An interrupted recreate leaves containers named <12 hex digits>_<name>.
            if re.match(r"^/[0-9a-f]{12}_", container["Name"]):
                result["orphans"].append(container["Name"].lstrip("/"))
            elif container["Config"]["Labels"].get("com.docker.compose.oneoff") != "True":
                result["services"][container["Config"]["Labels"]["com.docker.compose.service"]] = describe(container)

    result.update(
        releases=releases(root),
        current=current(root),
        live=(live(root) or [""])[-1],
        intact=intact(root, name),
        lock=lock.read(root),
        maintenance=maintenance.since(root),
        left_closed=maintenance.left_closed(root),
        last_run=lock.read(root, lock.LAST_RUN),
        password=password(root, parameters["database_password"]),
        restoring=dumps.read_json(root / RESTORING).get("volume", ""),
        partial=volumes.partial(root),
        rotating=rotation.under_way(root),
        backups=backups(root),
        archive_problem=archive.unusable(parameters["backup"], root) if (parameters["backup"] or {}).get("pitr") else "",
        proven_days=proven_days(root),
        database_warnings=(
            database_warnings(name, root, result["services"], result["volume"]["user"]) if parameters["ask_database"] else []
        ),
        scheduled=scheduled(root, parameters["backup"], parameters["rclone_config"]),
        programs_missing=programs_missing(parameters["backup"]),
        ports_taken={port: who for port in parameters["ports"] if (who := holder(port, f"{name}-proxy-1"))},
        disk={
            "engine": shutil.disk_usage(existing(Path(result["engine"]["root"] or "/var/lib/docker"))).free,
            "stack": shutil.disk_usage(existing(root)).free,
        },
        user=os.geteuid(),
        ca_bundle_missing=bool(bundle) and not Path(bundle).is_file(),
    )
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "ports": {"type": "list", "elements": "str", "default": []},
            "ca_bundle": {"type": "path"},
            "probe": {"type": "dict"},
            "database": {"type": "dict", "default": {}},
            "ask_database": {"type": "bool", "default": False},
            "schedule": {"type": "bool", "default": False},
            "backup": {"type": "dict"},
            "rclone_config": {"type": "str", "default": "", "no_log": True},
            "database_password": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        told = read(module.params)
    except PermissionError as error:
        module.fail_json(msg=f"{error.filename} cannot be read without the rights of root on the host; use `become: true`.")
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
