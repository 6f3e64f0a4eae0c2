#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Move an image from the host that built it to the others
version_added: "0.1.0"
description:
  - Through a registry where one is given - the host that has the image pushes it, the others pull just that one, by its digest.
    Credentials are those that C(docker login) left on the hosts.
  - Without one through the controller - the image is saved there once, compressed with zstd where the host has it, else with
    gzip, and sent to each of the other hosts, which load it. Layers that all of them have stay behind, so that after an edit
    little more than the code is moved. All files on the way are private, and removed in any case.
options:
  name:
    description: Reference of the image.
    type: str
    required: true
  state:
    description:
      - C(sent) brings the image from this host to where the others get it, C(received) gets it from there to this host.
      - C(forgotten) removes what was kept on the controller for the others.
    type: str
    choices: [sent, received, forgotten]
    required: true
  registry:
    description: Registry and path in it for C(sent), as in C(registry.example.com:5000/team); "" for none.
    type: str
    default: ""
  known:
    description:
      - For C(sent) without a registry, what each of the other hosts has of images, as C(images) of M(drydock.stack.stack_info).
        A layer that lies at the same place in an image of each of them is not sent.
    type: list
    elements: dict
    default: []
  sender:
    description: Name of the host that the image comes from, for C(received).
    type: str
    default: ""
  sent:
    description: What this module returned there with C(sent), for C(received) and C(forgotten).
    type: dict
    default: {}
  file:
    description: The compressed image on the host; set by the controller's part of this module.
    type: path
extends_documentation_fragment:
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Bring the image to where the others get it
  drydock.stack.image:
    name: shop:0123456789ab
    state: sent
  when: inventory_hostname == 'one.example.com'
  register: sent

- name: Ensure the image is there
  drydock.stack.image:
    name: shop:0123456789ab
    state: received
    sender: one.example.com
    sent: "{{ hostvars['one.example.com'].sent }}"
  when: inventory_hostname != 'one.example.com'
"""

RETURN = r"""
name:
  description: Reference of the image.
  returned: success
  type: str
id:
  description: Id of the image.
  returned: when it was sent or received
  type: str
digest:
  description: Reference in the registry by digest, or "".
  returned: when it was sent
  type: str
file:
  description: The compressed image on the controller, or "".
  returned: when it was sent
  type: str
size:
  description: Bytes that were moved; through a registry, those of the image.
  returned: when it was sent or received
  type: int
left_out:
  description: How many layers stayed behind, as all the others have them.
  returned: when it was sent
  type: int
moved:
  description: What was moved how, in MB and seconds, for people.
  returned: when it was sent or received
  type: str
"""

import os
import subprocess
import tarfile
import threading
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, engine

# Seconds that moving an image may take; it may be large, and the way slow.
TIMEOUT = 3600
# Fast rather than small: what is sent is sent once per host, and gzip is no faster than a network.
PACKERS = (["zstd", "--quiet", "-3", "--threads=0", "--stdout"], ["gzip", "--fast", "--stdout"])
REMEDY = (
    "See that the host reaches the registry, and that `docker login` was run there by root where it asks for a password; "
    "one that speaks plain HTTP has to be named in docker_host_insecure_registries."
)


def run(*arguments):
    code, output, error = engine.run([engine.which("docker") or "docker", *arguments], timeout=TIMEOUT)
    if code:
        raise docker_cli.EngineError(error.strip()[-500:] or f"docker {arguments[0]} ended with {code}")
    return output


def look(name):
    """Return what the engine knows of the image; raise EngineError where there is none."""
    found = docker_cli.inspect("image", "inspect", name)
    if not found:
        raise docker_cli.EngineError(f"{name} is not there")
    return found[0]


def packer():
    """Return the first command for compressing that the host has."""
    return next((command for command in PACKERS if engine.which(command[0])), PACKERS[-1])


def in_common(layers, known):
    """Return the layers from the first one on that each host has, in one image or another.

    `layers` are the digests of the image's, lowest first; `known` has for each host its images by name, with their `layers`.
    A layer counts with all those below it alone, as the engine keeps it by them.
    """

    def on(images):
        shared = [sum(1 for _ in takewhile(bool, map(str.__eq__, layers, image["layers"]))) for image in images.values()]
        return max(shared, default=0)

    return layers[: min(map(on, known), default=0)]


def save(name, file, left_out=()):
    """Write the image, compressed, into a file that only the owner of its folder may read; return the packer's name.

    The layers that are left out, given by their digests, are named in it all the same.
    """
    command = packer()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        # The folder is the login user's, who fetches it.
        owner = file.parent.stat()
        if owner.st_uid != os.geteuid():
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        # As the engine names them in what it saves.
        without = {f"blobs/{layer.replace(':', '/')}" for layer in left_out}
        pipe([engine.which("docker") or "docker", "image", "save", name], command, target, without)
    return command[0]


def pipe(source, command, target, without):
    """Run a command and pass the archive that it writes, without some members, through another into a file.

    Raises EngineError where either of them fails, or the archive is not whole.
    """
    environment, broken = engine.environment(), ""
    with (
        subprocess.Popen(source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as reading,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target, stderr=subprocess.PIPE, env=environment) as writing,
    ):
        late = threading.Timer(TIMEOUT, lambda: (reading.kill(), writing.kill()))
        late.start()
        try:
            copy_archive(reading.stdout, writing.stdin, without)
        except (tarfile.TarError, OSError) as error:
            broken = str(error)
        finally:
            # Each ends when what it reads from, or writes to, does.
            reading.stdout.close()
            with suppress(BrokenPipeError):
                writing.stdin.close()
            said = b"".join(process.stderr.read() for process in (writing, reading)).decode(errors="replace").strip()
            late.cancel()
    if reading.returncode or writing.returncode or broken:
        raise docker_cli.EngineError(said[-500:] or broken or f"{source[0]} or {command[0]} failed")


def copy_archive(source, target, without):
    """Copy a tar archive from one stream to another, without the members of these names."""
    with tarfile.open(fileobj=source, mode="r|") as archive, tarfile.open(fileobj=target, mode="w|") as copy:
        for member in archive:
            if member.name not in without:
                copy.addfile(member, archive.extractfile(member) if member.isreg() else None)


def push(name, registry):
    """Push the image and return its reference by digest."""
    remote = f"{registry}/{name}"
    run("tag", name, remote)
    try:
        run("push", "--quiet", remote)
        repository = remote.rpartition(":")[0]
        return next(digest for digest in look(remote)["RepoDigests"] if digest.startswith(f"{repository}@"))
    finally:
        docker_cli.docker("image", "rm", remote, check=False)


def pull(name, digest):
    """Pull the image and have it go by its name only, so that nothing else holds it when its releases are gone."""
    run("pull", "--quiet", digest)
    try:
        run("tag", digest, name)
    finally:
        docker_cli.docker("image", "rm", digest, check=False)


def send(parameters):
    name, told = parameters["name"], {"digest": "", "packer": ""}
    found = look(name)
    if parameters["registry"]:
        told.update(digest=push(name, parameters["registry"]), size=found["Size"], changed=True)
    else:
        file = Path(parameters["file"])
        left_out = in_common(found["RootFS"]["Layers"], parameters["known"])
        told.update(packer=save(name, file, left_out), left_out=len(left_out), size=file.stat().st_size, changed=False)
    return {**told, "id": found["Id"], "unpacked": found["Size"]}


def receive(parameters):
    name, sent = parameters["name"], parameters["sent"]
    if sent["digest"]:
        pull(name, sent["digest"])
    else:
        run("image", "load", "--quiet", "--input", parameters["file"])
    found = look(name)
    return {"changed": True, "id": found["Id"], "size": int(sent["size"])}


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["sent", "received", "forgotten"]},
            "registry": {"type": "str", "default": ""},
            "known": {"type": "list", "elements": "dict", "default": []},
            "sender": {"type": "str", "default": ""},
            "sent": {"type": "dict", "default": {}},
            "file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    name, state = module.params["name"], module.params["state"]
    if module.check_mode or state == "forgotten":
        module.exit_json(changed=state == "received", name=name)
    through_registry = module.params["registry"] or module.params["sent"].get("digest")
    try:
        told = send(module.params) if state == "sent" else receive(module.params)
    except (docker_cli.EngineError, OSError, subprocess.TimeoutExpired) as error:
        way = "pushed" if state == "sent" else "pulled"
        what = way if through_registry else {"sent": "saved", "received": "loaded"}[state]
        module.fail_json(
            msg=f"{name} cannot be {what}: {error}"
            + (f"\nfastapi_registry is {module.params['registry'] or through_registry.rpartition('/')[0]}. {REMEDY}")
            * bool(through_registry)
        )
    module.exit_json(name=name, **told)


if __name__ == "__main__":
    main()
