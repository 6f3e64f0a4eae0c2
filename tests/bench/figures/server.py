"""A server of the lab: from the start of its engine after a reboot to the first good answer; what `ansible.cfg` saves by ssh."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import lab

SERVER = "drydock-lab-bench"
# On the server: both times are of the kernel's monotonic clock.
WATCH = """
import subprocess, time, urllib.request
while True:
    try:
        if urllib.request.urlopen("http://127.0.0.1:8000/readyz", timeout=1).status == 200:
            break
    except OSError:
        time.sleep(0.05)
now = time.clock_gettime(time.CLOCK_MONOTONIC)
said = subprocess.run(["systemctl", "show", "docker", "--property=ActiveEnterTimestampMonotonic", "--value"], capture_output=True)
print(now - int(said.stdout) / 1e6)
"""


def make_server() -> None:
    lab.run("ansible-playbook", "-i", "localhost,", lab.ROOT / "molecule/lab/lab.yml")
    kept = lab.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", "drydock.local/lab-server-engine").splitlines()[0]
    drop_server()
    lab.docker(
        *("run", "--detach", "--privileged", f"--name={SERVER}", f"--hostname={SERVER}", "--network=drydock-lab", "--tmpfs=/run"),
        *(
            "--tmpfs=/tmp",
            f"--volume={SERVER}:/var/lib/docker",
            f"--volume={lab.CA_BUNDLE}:{lab.CA_BUNDLE}:ro",
            "--stop-timeout=60",
            kept,
        ),
    )
    booted()


def booted() -> None:
    state = ["docker", "exec", SERVER, "systemctl", "is-system-running", "--wait"]
    lab.wait_for(lambda: subprocess.run(state, capture_output=True, text=True, check=False).stdout.strip() == "running")


def drop_server() -> None:
    lab.remove(SERVER)
    subprocess.run(["docker", "volume", "rm", "--force", SERVER], capture_output=True, check=False)


def rebooted(number: int) -> float:
    lab.docker("restart", SERVER)
    return float(lab.docker("exec", SERVER, "/usr/bin/python3", "-c", WATCH))


def let_in() -> dict[str, str]:
    """Let root log in by a key, and return how to reach the server so."""
    key = lab.WORK / "key"
    if not key.exists():
        lab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    lab.docker("exec", SERVER, "install", "-d", "-m", "0700", "/root/.ssh")
    lab.docker("cp", key.with_suffix(".pub"), f"{SERVER}:/root/.ssh/authorized_keys")
    lab.docker("exec", SERVER, "chown", "root:root", "/root/.ssh/authorized_keys")
    return {
        **{"ansible_connection": "ansible.builtin.ssh", "ansible_user": "root", "ansible_ssh_private_key_file": str(key)},
        "ansible_host": lab.docker("inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", SERVER),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    }


def inventory(name: str, **variables: str) -> Path:
    """Write an inventory with the server in it."""
    folder = lab.WORK / name
    (folder / "group_vars").mkdir(parents=True, exist_ok=True)
    (folder / "group_vars/all.yml").write_text((lab.ROOT / "molecule/lab/group_vars/all.yml").read_text())
    server = {"ansible_python_interpreter": "/usr/bin/python3", **variables}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {SERVER: server}}}))
    return folder


def measure():
    deploy = lab.ROOT / "playbooks/deploy.yml"
    make_server()
    # What Ansible does where nobody has said otherwise, but for where the collection is.
    plain = lab.WORK / "plain.cfg"
    plain.write_text(f"[defaults]\ncollections_path = {lab.ROOT}/.venv/collections\n")
    try:
        lab.play(deploy, "-i", inventory("server", ansible_connection="community.docker.docker"))
        reboots = [rebooted(number) for number in range(lab.PAIRS)]
        reached = inventory("server-ssh", **let_in())
        configs = [lab.ROOT / "ansible.cfg", plain]
        runs = [lambda number, config=config: lab.play(deploy, "-i", reached, config=config) for config in configs]
        for run in runs:
            run(0)
        found = lab.pairs(*runs)
    finally:
        drop_server()
    rows = [
        lab.median("engine started after a reboot to first good answer", reboots, 10, unit="s"),
        lab.ratio("nothing changed over ssh, with ansible.cfg against without", *found, None, of="s"),
    ]
    return rows, [
        lab.chart("Engine started to first good answer", "s", ours=reboots),
        lab.chart("Nothing changed, over ssh", "s", **{"ours": found[0], "Ansible's defaults": found[1]}),
    ]
