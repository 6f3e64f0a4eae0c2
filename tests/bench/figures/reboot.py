"""From the start of the engine after a reboot to the first good answer, on a server of the lab."""

from __future__ import annotations

import json
import subprocess

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


def measure():
    make_server()
    inventory = lab.WORK / "server"
    (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
    (inventory / "group_vars/all.yml").write_text((lab.ROOT / "molecule/lab/group_vars/all.yml").read_text())
    server = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": {SERVER: server}}}))
    try:
        lab.play(lab.ROOT / "playbooks/deploy.yml", "-i", inventory)
        found = [rebooted(number) for number in range(lab.PAIRS)]
    finally:
        drop_server()
    rows = [lab.median("engine started after a reboot to first good answer", found, 10, unit="s")]
    return rows, [lab.chart("Engine started to first good answer", "s", ours=found)]
