"""Asks a front door down connections that stay open, GET and POST in turn, without a retry, until a file appears.

client.py PORT CONNECTIONS PAUSE STOP_FILE RESULT_FILE: seconds for PAUSE; the result is JSON.
"""

import http.client
import json
import sys
import threading
import time
from pathlib import Path

port, connections, pause, stop, result = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    float(sys.argv[3]),
    Path(sys.argv[4]),
    Path(sys.argv[5]),
)
# However the test ends, the load does.
END = time.monotonic() + 900
answers, lock = [], threading.Lock()


def ask(number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    turn = 0
    while not stop.exists() and time.monotonic() < END:
        turn += 1
        began = time.monotonic()
        try:
            if turn % 2:
                connection.request("GET", "/")
            else:
                connection.request("POST", "/written", body=f"{number}")
            answer = connection.getresponse()
            said, status = answer.read().decode(errors="replace"), answer.status
        except (OSError, http.client.HTTPException) as error:
            said, status = repr(error), 0
            connection.close()
        with lock:
            answers.append((status, time.monotonic() - began, said if status != 200 else ""))
        time.sleep(pause)


threads = [threading.Thread(target=ask, args=[number]) for number in range(connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
times = sorted(seconds for _, seconds, _ in answers)
failed = [[status, said] for status, _, said in answers if status != 200]
partial = result.with_suffix(".partial")
partial.write_text(
    json.dumps(
        {
            "requests": len(answers),
            "failed": failed[:20],
            "failures": len(failed),
            "p50_ms": round(1000 * times[len(times) // 2], 1),
            "p99_ms": round(1000 * times[int(len(times) * 0.99)], 1),
            "max_ms": round(1000 * times[-1], 1),
        }
    )
)
partial.rename(result)
