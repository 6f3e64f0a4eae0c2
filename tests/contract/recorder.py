"""An application that writes down each request as a line of JSON, in the file RECORD, before it answers.

`?status=`, `?header=name:value` and `?size=` say what it answers: the target, and more on top.
"""

import json
import os
from pathlib import Path
from urllib.parse import parse_qsl

RECORD = Path(os.environ["RECORD"])
BLOCK = b"a" * 65536


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body, more = body + message["body"], message.get("more_body", False)
    seen = {
        "method": scope["method"],
        "target": scope["raw_path"].decode("latin-1"),
        "path": scope["path"],
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "body": body.decode("latin-1"),
        "whole": not more,
    }
    with RECORD.open("a") as file:
        file.write(json.dumps(seen) + "\n")
    asked = parse_qsl(scope["query_string"].decode("latin-1"))
    status = int(dict(asked).get("status", 200))
    headers = [value.partition(":")[::2] for name, value in asked if name == "header"]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *encoded]})
    await send({"type": "http.response.body", "body": b"seen %s\n" % scope["raw_path"], "more_body": True})
    for _ in range(int(dict(asked).get("size", 0)) // len(BLOCK)):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
