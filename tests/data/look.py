"""Print as JSON what a server says of the containers of a stack and of their images: look.py STACK.

It asks the engine, the kernel and the files of the images, and nothing of the stack's own.
"""

import json
import socket
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

LISTENING = "0A"


def docker(*arguments):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def status(process):
    lines = (line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {name: value.split() for name, value in lines if name in STATUS}


STATUS = ("Name", "PPid", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


def processes(first):
    """Return what the kernel says of a process and of all that descend from it."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[process.name] = status(process)
        except OSError:
            continue
    found, waiting = {}, [str(first)]
    while waiting:
        one = waiting.pop()
        found[one] = parents[one]
        waiting += [child for child, told in parents.items() if told["PPid"] == [one]]
    return list(found.values())


def address(text):
    """Return the address that the kernel writes as words of the machine's byte order."""
    words = bytes.fromhex(text)
    raw = b"".join(struct.pack("=I", *struct.unpack(">I", words[place : place + 4])) for place in range(0, len(words), 4))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def listening(process):
    """Return the addresses and ports on which something listens in the network of a process."""
    found = []
    for kind in ("tcp", "tcp6"):
        for line in (process / "net" / kind).read_text().splitlines()[1:]:
            place, _, state = line.split()[1:4]
            host, _, port = place.partition(":")
            if state == LISTENING:
                found.append([address(host), int(port, 16)])
    return found


def mounts(process):
    """Return for each mount point of a process its options and its kind."""
    lines = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    return {words[4]: [words[5].split(","), words[words.index("-") + 1]] for words in lines}


def limits(process):
    lines = (process / "limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def cgroups(process):
    return [line.split(":", 2)[2] for line in (process / "cgroup").read_text().splitlines()]


def files(container):
    """Return the files of a container's root that give rights of others, or that its users may write, and its programs."""
    given, writable, programs = [], [], []
    with (
        subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export,
        tarfile.open(fileobj=export.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if member.isfile() and member.mode & 0o6000:
                given.append(member.name)
            if (member.isfile() or member.islnk()) and (member.mode & 0o002 or (member.uid and member.mode & 0o200)):
                writable.append(member.name)
            if "bin/" in member.name and not member.isdir():
                programs.append(Path(member.name).name)
    return {"setid": given, "writable": writable, "programs": sorted(set(programs))}


def look(container):
    process = Path("/proc") / str(container["State"]["Pid"])
    return {
        "inspect": container,
        "image": json.loads(docker("image", "inspect", container["Image"]))[0],
        "tag": json.loads(docker("image", "inspect", container["Config"]["Image"]))[0]["Id"],
        "history": docker("image", "history", "--no-trunc", "--format", "{{ .CreatedBy }}", container["Image"]).splitlines(),
        "processes": processes(container["State"]["Pid"]),
        "listening": listening(process),
        "mounts": mounts(process),
        "limits": limits(process),
        "cgroups": cgroups(process),
        "namespaces": {
            name: str((process / "ns" / name).readlink()) for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
        },
        "files": files(container["Id"]),
    }


def main(stack):
    names = docker("ps", "--filter", f"label=com.docker.compose.project={stack}", "--format", "{{ .Names }}").split()
    containers = json.loads(docker("inspect", *names))
    return {
        "info": json.loads(docker("info", "--format", "{{ json . }}")),
        "networks": json.loads(docker("network", "inspect", *docker("network", "ls", "--format", "{{ .Name }}").split())),
        "host": {name: str(Path(f"/proc/1/ns/{name}").readlink()) for name in ("ipc", "mnt", "net", "pid", "user", "uts")},
        "containers": {container["Config"]["Labels"]["com.docker.compose.service"]: look(container) for container in containers},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
