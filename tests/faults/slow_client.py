"""Sends slow requests and holds a websocket over a flip. slow_client.py PORT SECONDS REQUESTS RESULT_FILE"""

import base64
import http.client
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

port, seconds, requests, result = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
began = time.monotonic()
told = {"slow": [], "flip_seen_after_s": 0.0, "socket_closed_after_s": 0.0, "socket_ended": "", "frames": 0}


def slow() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/slow?seconds={seconds}")
        told["slow"].append(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        told["slow"].append(repr(error))


def live() -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    return connection.getresponse().headers["X-Slot"]


def watch() -> None:
    """See when the other slot answers."""
    first = live()
    while live() == first and time.monotonic() - began < 120:
        time.sleep(0.1)
    told["flip_seen_after_s"] = time.monotonic() - began


def frames() -> None:
    """Hold a websocket, by hand as there is no library on the server, and note how it ends."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["GET /socket HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
    connection.sendall("\r\n".join([*lines, "Sec-WebSocket-Version: 13", "", ""]).encode())
    stream = connection.makefile("rb")
    while stream.readline().strip():
        pass
    while True:
        try:
            head = stream.read(2)
        except OSError as error:
            told["socket_ended"] = repr(error)
            break
        if len(head) < 2:
            told["socket_ended"] = "end of stream"
            break
        stream.read(head[1] & 0x7F)
        if head[0] & 0x0F == 8:
            told["socket_ended"] = "close frame"
            break
        told["frames"] += 1
    told["socket_closed_after_s"] = time.monotonic() - began


threads = [threading.Thread(target=slow) for _ in range(requests)] + [threading.Thread(target=work) for work in (watch, frames)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
result.with_suffix(".partial").write_text(json.dumps(told))
result.with_suffix(".partial").rename(result)
