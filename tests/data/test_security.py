"""The stack as an auditor finds it: rules of the CIS Docker Benchmark and of OWASP, asked of the engine, the kernel and files.

Nothing here reads a template, or what a deploy says of itself. docs/security.md has the same rules, and the same exceptions.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SERVER = "drydock-lab-data"
NETWORK = "drydock-lab"
# What the scenario sets; none of it has to do with what is asked here.
SET = {
    "fastapi_name", "fastapi_source", "fastapi_healthy_timeout", "fastapi_keep_releases", "fastapi_env", "fastapi_alert_command",
    "fastapi_drill_query", "fastapi_build_secrets",
}  # fmt: skip
SERVICES = ("app", "db", "proxy")
NET_BIND_SERVICE = 1 << 10
# The ports on which a service may listen beyond its own loopback address.
NEEDED = {"app": {8000}, "db": {5432}, "proxy": {8000}}
SENSITIVE = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sys", "/usr", "/var/lib/docker", "/var/run")
NAMED_LIKE_A_SECRET = re.compile(r"\b\w*(PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE_KEY|API_KEY)\w*=[^\s\"']", re.IGNORECASE)
# What nobody but an attacker needs in a container that serves.
NEEDLESS = {"gcc", "cc", "g++", "make", "git", "curl", "ssh", "scp", "sshd", "sudo", "nc", "telnet", "gdb", "strace", "tcpdump"}
MEMORY = "/tmp"  # noqa: S108
OTHERS_IMAGE = "its image is another's, and runs as it is"

Found = dict[str, Any]
Rule = Callable[[Found, Found, str], Iterator[str]]
# By their numbers: the words of the rule, and what yields the breaches of a container, of all that was found, by its service.
RULES: dict[str, tuple[str, Rule]] = {}
# Of these the breach is there, and is asserted to be: by their numbers the services, and the reason.
EXCEPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "CIS 4.3": (("proxy",), f"{OTHERS_IMAGE}: its busybox has the wget of the health check, and nc and telnet with it"),
    "CIS 4.6": (("db", "proxy"), f"{OTHERS_IMAGE}; the container has a health check: CIS 5.27"),
    "CIS 4.8": (("db",), f"{OTHERS_IMAGE}; no-new-privileges makes such files useless, which the kernel is asked for: CIS 5.26"),
    "CIS 5.15": (SERVICES, "`unless-stopped`: a container that is restarted five times at most is not there after a reboot"),
}
# What no program can decide, or what is not the stack's to do.
NOT_ASKED: dict[str, str] = {
    "CIS 4.2": "which images are trusted is yours to say: `fastapi_python_image` and its like take a digest",
    "CIS 4.4": "scan and rebuild: give the images by digest; `make digests` prints those of now, and a deploy with them rebuilds",
    "CIS 4.5": "content trust (Notary) has no successor in Docker; a digest says which image it is",
    "CIS 4.12": "no artifact is signed; hashes of requirements are enforced, `fastapi_extra_requirements` has none",
    "CIS 5.2": "AppArmor is the kernel's: Docker's profile is taken where there is one; the lab's kernel has none",
    "CIS 5.3": "SELinux is the kernel's: Docker's labels are taken where it is there; Debian and Ubuntu have none",
    "CIS 5.23": "`docker exec` is the operator's; the collection never runs it with privileges",
    "OWASP 0": "the host's updates are its administrator's",
    "OWASP 9": "the scanner is yours to choose: `fastapi_scan_command` runs it, and refuses what it refuses",
    "OWASP 10": "the engine's own level, `info`, is left as it is",
    "OWASP 11": "the engine runs as root; the containers do not",
    "OWASP 13": "as CIS 4.2, 4.5 and 4.12",
}


def rule(number: str, words: str) -> Callable[[Rule], Rule]:
    def keep(check: Rule) -> Rule:
        RULES[number] = (words, check)
        return check

    return keep


# --- Section 4 of the CIS Docker Benchmark 1.6: images ---


@rule("CIS 4.1", "a container has a user of its own")
def _user(one: Found, all_found: Found, service: str) -> Iterator[str]:
    user = one["inspect"]["Config"]["User"]
    if not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user):
        yield f"its user is {user!r}"
    for process in one["processes"]:
        if "0" in [*process["Uid"], *process["Gid"], *process["Groups"]]:
            yield f"{process['Name']} runs as {process['Uid']}, {process['Gid']}, {process['Groups']}"


@rule("CIS 4.3", "no needless packages")
def _programs(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if not one["files"]["programs"] and service != "app":
        yield "its programs were not found"
    yield from NEEDLESS & set(one["files"]["programs"])


@rule("CIS 4.6", "the image has a health check")
def _image_health(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if (one["image"]["Config"].get("Healthcheck") or {}).get("Test", ["NONE"])[0] not in ("CMD", "CMD-SHELL"):
        yield "none"


@rule("CIS 4.7", "no update of packages alone in a layer")
def _updates(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (line for line in one["history"] if re.search(r"apt(-get)? update|apk update", line) and "install" not in line)


@rule("CIS 4.8", "no file that gives the rights of another user or group")
def _setid(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from one["files"]["setid"]


@rule("CIS 4.9", "COPY, and no ADD")
def _add(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (line for line in one["history"] if re.search(r"(^|#\(nop\) +)ADD ", line))


@rule("CIS 4.10", "no secret in an image")
def _image_secrets(one: Found, all_found: Found, service: str) -> Iterator[str]:
    told = [*one["history"], *one["image"]["Config"]["Env"], *map("=".join, (one["image"]["Config"]["Labels"] or {}).items())]
    yield from (line for line in told if NAMED_LIKE_A_SECRET.search(line) or all_found["password"] in line)


@rule("CIS 4.11", "no package whose origin is not verified")
def _unverified(one: Found, all_found: Found, service: str) -> Iterator[str]:
    odd = r"allow-unauthenticated|trusted=yes|--trusted-host|--no-check-certificate|--insecure|curl -k|\| *(ba)?sh\b"
    yield from (line for line in one["history"] if re.search(odd, line))


# --- Section 5: containers ---


@rule("CIS 5.1", "swarm mode is off")
def _swarm(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if all_found["info"]["Swarm"]["LocalNodeState"] != "inactive":
        yield "it is on"


@rule("CIS 5.4", "no capability but what is needed")
def _capabilities(one: Found, all_found: Found, service: str) -> Iterator[str]:
    allowed = NET_BIND_SERVICE if service == "proxy" else 0
    for process in one["processes"]:
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            if int(process[kind][0], 16) & ~allowed:
                yield f"{process['Name']} has {kind} {process[kind][0]}"


@rule("CIS 5.5", "no privileged container")
def _privileged(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["HostConfig"]["Privileged"] is not False:
        yield "it is privileged"


@rule("CIS 5.6", "no sensitive folder of the host is mounted")
def _sensitive(one: Found, all_found: Found, service: str) -> Iterator[str]:
    for mount in one["inspect"]["Mounts"]:
        source = mount["Source"].rstrip("/") or "/"
        if source in SENSITIVE or (mount["Type"] == "bind" and not source.startswith("/opt/fault/")):
            yield source


@rule("CIS 5.7", "no sshd")
def _sshd(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if not one["processes"]:
        yield "no process was found"
    yield from (" ".join(process["Name"]) for process in one["processes"] if "ssh" in process["Name"][0])


def published(one: Found) -> list[tuple[str, str, int]]:
    """Return the address, the port of the host and that of the container for each that is published."""
    ports = (one["inspect"]["NetworkSettings"]["Ports"] or {}).items()
    return [(to["HostIp"], to["HostPort"], int(inner.partition("/")[0])) for inner, places in ports for to in places or []]


@rule("CIS 5.8", "no privileged port is published")
def _privileged_ports(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (f"{port}" for _, port, _ in published(one) if int(port) < 1024)


@rule("CIS 5.9", "no port is open but what is needed")
def _open_ports(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if service != "proxy" and published(one):
        yield f"it publishes {published(one)}"
    # The engine's own resolver, which answers this container alone.
    reached = {(host, port) for host, port in one["listening"] if not ipaddress.ip_address(host).is_loopback}
    yield from (f"{host} {port}" for host, port in reached if port not in NEEDED[service])
    if not reached:
        yield "nothing listens, or it was not found"


def own(namespace: str) -> Rule:
    """A rule that a namespace is neither the host's nor that of another container."""

    def check(one: Found, all_found: Found, service: str) -> Iterator[str]:
        mine = one["namespaces"][namespace]
        if mine == all_found["host"][namespace]:
            yield "it is the host's"
        others = [name for name, other in all_found["containers"].items() if other["namespaces"][namespace] == mine]
        if others != [service]:
            yield f"it is that of {others}"

    return check


for _number, _namespace, _what in (
    ("CIS 5.10", "net", "network"),
    ("CIS 5.16", "pid", "process"),
    ("CIS 5.17", "ipc", "IPC"),
    ("CIS 5.21", "uts", "UTS"),
):
    rule(_number, f"the host's {_what} namespace is not shared")(own(_namespace))


@rule("CIS 5.11", "memory is limited")
def _memory(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if not 0 < one["inspect"]["HostConfig"]["Memory"] < all_found["info"]["MemTotal"]:
        yield f"to {one['inspect']['HostConfig']['Memory']}"


@rule("CIS 5.12", "the priority of the processors is set")
def _shares(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["HostConfig"]["CpuShares"] in (0, 1024):
        yield f"it is {one['inspect']['HostConfig']['CpuShares']}"


@rule("CIS 5.13", "the root file system is read-only")
def _read_only(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if "ro" not in one["mounts"]["/"][0]:
        yield f"its root is mounted {one['mounts']['/'][0]}"


@rule("CIS 5.14", "what comes in is bound to one interface of the host")
def _bound(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if service == "proxy" and not published(one):
        yield "the front door publishes nothing"
    yield from (host for host, _, _ in published(one) if ipaddress.ip_address(host).is_unspecified)


@rule("CIS 5.15", "a container is restarted on failure, five times at most")
def _restarts(one: Found, all_found: Found, service: str) -> Iterator[str]:
    policy = one["inspect"]["HostConfig"]["RestartPolicy"]
    if policy != {"Name": "on-failure", "MaximumRetryCount": 5}:
        yield policy["Name"]


@rule("CIS 5.18", "no device of the host")
def _devices(one: Found, all_found: Found, service: str) -> Iterator[str]:
    config = one["inspect"]["HostConfig"]
    yield from map(str, [*(config["Devices"] or []), *(config["DeviceRequests"] or []), *(config["DeviceCgroupRules"] or [])])


@rule("CIS 5.19", "limits of processes are set where they are needed")
def _ulimits(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["limits"]["Max core file size"] != ["0", "0"]:
        yield f"what dies may leave {one['limits']['Max core file size']} of its memory behind"


@rule("CIS 5.20", "no mount is shared")
def _shared(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (mount["Destination"] for mount in one["inspect"]["Mounts"] if "shared" in mount["Propagation"])


@rule("CIS 5.22", "the default seccomp profile is on")
def _seccomp(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (str(process) for process in one["processes"] if process["Seccomp"] != ["2"])
    yield from (option for option in one["inspect"]["HostConfig"]["SecurityOpt"] if "unconfined" in option)
    if "name=seccomp,profile=builtin" not in all_found["info"]["SecurityOptions"]:
        yield f"the engine has {all_found['info']['SecurityOptions']}"


@rule("CIS 5.24", "nobody is root by `docker exec`")
def _exec(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["Config"]["User"].partition(":")[0] in ("", "0", "root"):
        yield "whoever runs a command in it is"


@rule("CIS 5.25", "it is in the control group that the engine gives it")
def _cgroup(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["HostConfig"]["CgroupParent"]:
        yield one["inspect"]["HostConfig"]["CgroupParent"]
    if not any(one["inspect"]["Id"] in group for group in one["cgroups"]):
        yield f"its groups are {one['cgroups']}"


@rule("CIS 5.26", "no process gets more rights than it began with")
def _new_privileges(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from (str(process) for process in one["processes"] if process["NoNewPrivs"] != ["1"])


@rule("CIS 5.27", "the health of a container is checked")
def _health(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["State"].get("Health", {}).get("Status") != "healthy":
        yield f"it is {one['inspect']['State'].get('Health')}"


@rule("CIS 5.28", "the newest version of its image runs")
def _newest(one: Found, all_found: Found, service: str) -> Iterator[str]:
    name = one["inspect"]["Config"]["Image"]
    if one["tag"] != one["inspect"]["Image"]:
        yield f"{name} is {one['tag']} by now"
    if ":" not in name.rpartition("/")[2] or name.endswith(":latest"):
        yield f"{name} says no version"


@rule("CIS 5.29", "processes are limited")
def _pids(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if not 0 < (one["inspect"]["HostConfig"]["PidsLimit"] or 0) <= 4096:
        yield f"to {one['inspect']['HostConfig']['PidsLimit']}"


@rule("CIS 5.30", "the engine's default network is not used")
def _default_network(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if {"bridge", "host"} & {*one["inspect"]["NetworkSettings"]["Networks"], one["inspect"]["HostConfig"]["NetworkMode"]}:
        yield str(one["inspect"]["NetworkSettings"]["Networks"])


@rule("CIS 5.31", "user namespaces of the host are not shared on request")
def _user_namespace(one: Found, all_found: Found, service: str) -> Iterator[str]:
    if one["inspect"]["HostConfig"]["UsernsMode"]:
        yield one["inspect"]["HostConfig"]["UsernsMode"]


@rule("CIS 5.32", "the engine's socket is in no container")
def _socket(one: Found, all_found: Found, service: str) -> Iterator[str]:
    places = [*one["mounts"], *(mount["Source"] for mount in one["inspect"]["Mounts"])]
    yield from (place for place in places if "docker.sock" in place or "containerd" in place)


# --- OWASP Docker Security Cheat Sheet, where it says more ---


@rule("OWASP 1", "the daemon's socket is neither mounted nor on the network")
def _daemon(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from _socket(one, all_found, service)
    yield from (f"the host listens on {port}" for _, port in all_found["host_listens"] if port in (2375, 2376))


@rule("OWASP 2", "a user is set")
def _owasp_user(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from _user(one, all_found, service)


@rule("OWASP 3", "capabilities are dropped, and the needed ones added")
def _dropped(one: Found, all_found: Found, service: str) -> Iterator[str]:
    added = [name.removeprefix("CAP_") for name in one["inspect"]["HostConfig"]["CapAdd"] or []]
    if one["inspect"]["HostConfig"]["CapDrop"] != ["ALL"] or added != (["NET_BIND_SERVICE"] if service == "proxy" else []):
        yield f"dropped {one['inspect']['HostConfig']['CapDrop']}, added {added}"
    yield from _capabilities(one, all_found, service)


@rule("OWASP 4", "no escalation of privileges")
def _escalation(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from _new_privileges(one, all_found, service)


@rule("OWASP 5", "containers reach each other where they have to, and not otherwise")
def _connected(one: Found, all_found: Found, service: str) -> Iterator[str]:
    wanted = {"app": {"fault_app-network", "fault_front"}, "db": {"fault_app-network"}, "proxy": {"fault_front"}}
    if set(one["inspect"]["NetworkSettings"]["Networks"]) != wanted[service]:
        yield str(set(one["inspect"]["NetworkSettings"]["Networks"]))
    internal = {network["Name"]: network["Internal"] for network in all_found["networks"]}
    if internal["fault_app-network"] is not True:
        yield "the database's network has a way out"


@rule("OWASP 6", "a security module of Linux")
def _module(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from _seccomp(one, all_found, service)


@rule("OWASP 7", "memory, processes and logs are limited")
def _limited(one: Found, all_found: Found, service: str) -> Iterator[str]:
    for check in (_memory, _shares, _pids, _ulimits):
        yield from check(one, all_found, service)
    log = one["inspect"]["HostConfig"]["LogConfig"]
    if log["Type"] != "local" or not {"max-size", "max-file"} <= set(log["Config"]):
        yield f"its log is {log}"


@rule("OWASP 8", "file systems and volumes are read-only")
def _volumes(one: Found, all_found: Found, service: str) -> Iterator[str]:
    yield from _read_only(one, all_found, service)
    needed = {"app": set(), "db": {"/var/lib/postgresql/data"}, "proxy": {"/data"}}[service]
    writable = {mount["Destination"] for mount in one["inspect"]["Mounts"] if mount["RW"]}
    yield from writable - needed
    if one["mounts"].get(MEMORY, ["", ""])[1] != "tmpfs":
        yield f"{MEMORY} is not in memory"
    if service == "app":
        yield from (f"{name} can be changed" for name in one["files"]["writable"] if name.startswith(("app/", "opt/")))


@rule("OWASP 12", "secrets are files that nobody else reads")
def _secrets(one: Found, all_found: Found, service: str) -> Iterator[str]:
    # The application's own settings are its environment: .env, for root alone.
    if service != "app":
        yield from (line for line in one["inspect"]["Config"]["Env"] if all_found["password"] in line)
    yield from (word for word in one["inspect"]["Args"] if all_found["password"] in word)


# --- The tests ---


@pytest.fixture(scope="module")
def found(server) -> Found:
    """What the server says of the stack that was deployed with no more than the scenario needs."""
    variables = (HERE.parents[1] / "molecule" / "data" / "vars" / "main.yml").read_text()
    assert set(re.findall(r"^(fastapi_\w+):", variables, re.MULTILINE)) <= SET
    subprocess.run(["docker", "cp", str(HERE / "look.py"), f"{SERVER}:/root/look.py"], check=True, capture_output=True)
    told = json.loads(server.sh("python3 /root/look.py fault"))
    told["containers"] = {service.partition("-")[0]: one for service, one in told["containers"].items()}
    told["password"] = server.sh("cat /opt/fault/secrets/database_password")
    lines = server.sh("ss --tcp --listening --numeric --no-header").splitlines()
    told["host_listens"] = [(host, int(port)) for host, _, port in (line.split()[3].rpartition(":") for line in lines)]
    assert set(told["containers"]) == set(SERVICES)
    return told


@pytest.mark.parametrize("number", RULES)
def test_a_rule_is_kept(found: Found, number: str) -> None:
    """Each container keeps the rule, or breaks it where it is said, with the reason."""
    check = RULES[number][1]
    breaches = {service: list(check(one, found, service)) for service, one in found["containers"].items()}
    broken = {service: told for service, told in breaches.items() if told}
    assert set(broken) == set(EXCEPTIONS.get(number, ((), ""))[0]), broken


def test_folders_have_their_modes_and_owners(server) -> None:
    """What is in the stack's folder is root's, and secret where it has to be."""
    wanted = {
        "": "750 0", "bin": "750 0", "releases": "750 0", "secrets": "700 0", "secrets/database_password": "400 999",
        "backups": "700 0", "certificates": "700 10002", "proxy": "755 0", "proxy/live": "755 0", "proxy/bypass": "711 0",
        "proxy/Caddyfile": "644 0", "current/.env": "600 0", "current/compose.yaml": "644 0", "current/unfilled/.env": "600 0",
    }  # fmt: skip
    told = server.sh(f"cd /opt/fault && stat --dereference --format '%a %u' {' '.join(f'./{path}' for path in wanted)}")
    assert dict(zip(wanted, told.splitlines(), strict=True)) == wanted
    others = server.sh("find /opt/fault -path /opt/fault/current/source -prune -o -perm /022 ! -type l -print")
    assert others == "", "somebody else may write these"
    assert server.sh("cd / && setpriv --reuid 1000 --regid 1000 --clear-groups ls /opt/fault 2>&1", check=False).endswith(
        "denied"
    )


# --- From elsewhere ---

# Connects to each port of each address, and prints those that take it: reach.py ADDRESS...
REACH = """
import asyncio, json, sys
async def one(host, port, taken, some):
    async with some:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 1)
        except (OSError, asyncio.TimeoutError):
            return
        taken.append([host, port])
        writer.close()
async def main(hosts, ports):
    taken, some = [], asyncio.Semaphore(500)
    await asyncio.gather(*(one(host, port, taken, some) for host in hosts for port in ports))
    print(json.dumps(sorted(taken)))
hosts, ports = sys.argv[1].split(","), sys.argv[2]
asyncio.run(main(hosts, range(1, 65536) if ports == "all" else map(int, ports.split(","))))
"""


@pytest.fixture(scope="module")
def elsewhere(server, found) -> Iterator[Callable[..., set[tuple[str, int]]]]:
    """Another host of the lab, which sends to the server what is for the stack's networks; tells which ports are open to it."""
    image, address = json.loads(
        subprocess.run(
            ["docker", "inspect", SERVER, "--format",
             '["{{ .Config.Image }}", "{{ (index .NetworkSettings.Networks "' + NETWORK + '").IPAddress }}"]'],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    subnets = [
        part["Subnet"] for network in found["networks"] for part in network["IPAM"]["Config"] or [] if network["Name"] != "host"
    ]
    routes = "; ".join(f"ip route replace {subnet} via {address}" for subnet in subnets)
    name = f"{SERVER}-neighbour"
    subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)
    subprocess.run(
        ["docker", "run", "--detach", "--rm", "--name", name, "--network", NETWORK, "--cap-add", "NET_ADMIN",
         "--entrypoint", "sh", image, "-c", f"{routes}; exec sleep 600"],
        check=True, capture_output=True,
    )  # fmt: skip

    def reached(hosts: list[str], ports: str = "all") -> set[tuple[str, int]]:
        done = subprocess.run(
            ["docker", "exec", "--interactive", name, "python3", "-", ",".join(hosts), ports],
            input=REACH, capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        return {(host, port) for host, port in json.loads(done.stdout)}

    reached.address = address
    yield reached
    subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)


def addresses(found: Found) -> list[str]:
    """Return the addresses of the containers in their networks."""
    networks = [
        network for one in found["containers"].values() for network in one["inspect"]["NetworkSettings"]["Networks"].values()
    ]
    return [network["IPAddress"] for network in networks]


def test_nothing_of_the_stack_is_reached_from_another_host(found, elsewhere) -> None:
    """All ports of the server, and those of the containers where they listen: none is the stack's."""
    assert {port for _, port in elsewhere([elsewhere.address])} <= {22}
    asked = "5432,8000,2019,2020"
    assert elsewhere(addresses(found), asked) <= {(front(found), 8000)}


def front(found: Found) -> str:
    """Return the address of the front door among the containers."""
    return found["containers"]["proxy"]["inspect"]["NetworkSettings"]["Networks"]["fault_front"]["IPAddress"]


def test_the_front_door_alone_is_reached_where_it_is_bound_so(server, found, elsewhere) -> None:
    """With an address that means all, the front door's port is open to other hosts, and no other port is."""
    server.works("deploy", fastapi_bind_address="0.0.0.0")
    assert elsewhere([elsewhere.address], "8000") == {(elsewhere.address, 8000)}
    assert elsewhere([elsewhere.address], "2019,2020,2375,2376,5432,8001") == set()
    server.works("deploy")
    assert elsewhere([elsewhere.address], "8000") == set()


def test_the_database_has_no_way_out(server, found) -> None:
    """From the network of the database no other host is reached; from that of the application it is."""
    registry = subprocess.run(
        ["docker", "inspect", "drydock-lab-registry", "--format",
         '{{ (index .NetworkSettings.Networks "' + NETWORK + '").IPAddress }}'],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    probe = f"import socket; socket.create_connection(('{registry}', 5000), 3)"
    for container, out in (("fault-db-1", False), ("fault-proxy-1", True)):
        pid = server.sh(f"docker inspect --format '{{{{ .State.Pid }}}}' {container}")
        done = server.sh(f'nsenter --target {pid} --net python3 -c "{probe}" 2>/dev/null && echo out', check=False)
        assert (done == "out") is out, container


# --- The database ---


def test_nobody_gets_into_the_database_over_tcp_without_a_password(server) -> None:
    """No rule for TCP trusts, or takes a password in clear text; the passwords are kept as SCRAM has them."""
    rules = server.admin("SELECT type || ' ' || auth_method FROM pg_hba_file_rules WHERE type LIKE 'host%'").splitlines()
    assert {line.split()[1] for line in rules} == {"scram-sha-256"}
    assert server.sql("SHOW password_encryption") == "scram-sha-256"
    assert server.admin("SELECT count(*) FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'") == "0"


ATTRIBUTES = """
SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolpassword IS NULL
FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY rolname
"""
# What a role may not do that owns its database and nothing else: those that read and write elsewhere, and that make it more.
FORBIDDEN = (
    "CREATE ROLE mallory", "CREATE DATABASE more", "SELECT rolpassword FROM pg_authid", "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/out'", "SELECT pg_read_file('PG_VERSION')", "SELECT pg_ls_dir('.')", "SELECT lo_import('/a')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'", "ALTER SYSTEM SET work_mem = '1MB'", "SELECT pg_switch_wal()",
    "SELECT pg_create_physical_replication_slot('s')", "SELECT count(*) FROM pg_hba_file_rules", "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres", "GRANT pg_execute_server_program TO fault", "ALTER ROLE fault SUPERUSER",
    "ALTER ROLE postgres PASSWORD 'known'", "DROP DATABASE postgres",
)  # fmt: skip


def test_the_applications_role_owns_its_database_and_nothing_else(server) -> None:
    """The role logs in, and has no other right; it owns the database, and what the migrations have made in it."""
    roles = server.admin(ATTRIBUTES.replace("\n", " ")).splitlines()
    assert roles == ["fault|t|f|f|f|f|f|f", "postgres|t|t|t|t|t|t|t"]
    assert server.admin("SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = 'fault'") == "fault"
    assert server.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "fault"
    assert server.admin("SELECT count(*) FROM pg_auth_members WHERE pg_get_userbyid(member) = 'fault'") == "0"
    # What an application's migrations do.
    server.sql("CREATE SCHEMA own; CREATE EXTENSION citext; CREATE TABLE own.t (n citext); DROP SCHEMA own CASCADE")
    server.sql("DROP EXTENSION citext")


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_applications_role_cannot_become_more(server, statement) -> None:
    """Whoever has taken the application over gets neither to the server's files and programs, nor to other roles."""
    done = server.sh(f'docker exec fault-db-1 psql -v ON_ERROR_STOP=1 -qAtU fault -d fault -c "{statement}" 2>&1', check=False)
    assert re.match("ERROR: +(permission denied|must (be|have) )", done), done


def test_the_applications_role_gets_into_no_other_database(server) -> None:
    """What PostgreSQL has beside the application's own is closed to it."""
    for database in ("postgres", "template1"):
        said = server.sh(f"docker exec fault-db-1 psql -qAtU fault -d {database} -c 'SELECT 1' 2>&1", check=False)
        assert f'permission denied for database "{database}"' in said


def test_the_superuser_comes_in_over_the_socket_alone(server) -> None:
    """It has no password, so that SCRAM takes none; the one of the application is not its."""
    password = server.sh("cat /opt/fault/secrets/database_password")
    for host in ("db", "127.0.0.1"):
        login = f"docker exec --env PGPASSWORD={password} fault-db-1 psql -qAtw -h {host} -d fault -c 'SELECT session_user'"
        assert server.sh(f"{login} -U fault") == "fault"
        assert "password authentication failed" in server.sh(f"{login} -U postgres 2>&1", check=False)


def test_what_the_owner_puts_into_its_database_is_not_run_by_the_superuser(server) -> None:
    """A function of PostgreSQL's name, first on the path of everybody: backup, status, rotation and deploy call PostgreSQL's."""
    body = "BEGIN ALTER ROLE fault SUPERUSER; RETURN 'x'; EXCEPTION WHEN OTHERS THEN RETURN 'x'; END"
    server.sql(
        f"CREATE SCHEMA evil; CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE plpgsql AS \\$f\\${body}\\$f\\$; "
        "ALTER DATABASE fault SET search_path = evil, public, pg_catalog"
    )
    try:
        assert server.sql("SELECT current_database()") == "x"
        assert server.manifest(server.backup())["database"] == "fault"
        server.works("status")
        server.works("rotate_password")
        server.works("deploy", lab_edition="evil")
        assert server.admin("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'fault'") == "f"
    finally:
        server.sql("ALTER DATABASE fault RESET search_path; DROP SCHEMA evil CASCADE")
