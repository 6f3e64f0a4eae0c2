"""Ask over one kept connection until a file appears, and print the statuses as JSON.

Arguments: host name, path, the file, the largest number of requests, seconds between two.
"""

import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path

host, path, until, most, pause = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


class Connection(http.client.HTTPSConnection):
    connected = 0

    def connect(self):
        Connection.connected += 1
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 10), server_hostname=host)


connection = Connection(host, timeout=30)
answers = []
while len(answers) < most and not until.exists():
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answers.append([answer.status, json.loads(answer.read())["greeting"]])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        answers.append([0, f"{type(error).__name__}: {error}"])
        connection.close()
    time.sleep(pause)
print(json.dumps({"answers": answers, "connected": Connection.connected}))
