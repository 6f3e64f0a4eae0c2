"""Writes one row after the other through the front door, each once, and keeps which were acknowledged, until a file appears."""

import http.client
import json
import sys
import threading
import time
from pathlib import Path

port, connections, stop, result = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
acknowledged: list[str] = []
failures: list[str] = []


def write(number: int) -> None:
    connection = None
    for row in range(10**9):
        if stop.exists():
            return
        name = f"{stop.name}-{number}-{row}"
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/written", body=name)
            answer = connection.getresponse()
            answer.read()
            (acknowledged if answer.status == 200 else failures).append(name)
            # Leaves the machine to what is tested.
            time.sleep(0.01)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{name}: {error}")
            connection = None


threads = [threading.Thread(target=write, args=(number,)) for number in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
result.with_suffix(".partial").write_text(json.dumps({"acknowledged": acknowledged, "failures": failures}))
result.with_suffix(".partial").replace(result)
