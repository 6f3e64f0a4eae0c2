#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Ask a front door as a client would
version_added: "0.1.0"
description:
  - Sends a GET request to an address under a host name of its own, until it is answered as expected or the time is over.
options:
  address:
    description: Address to connect to.
    type: str
    required: true
  port:
    description: Port to connect to.
    type: int
    required: true
  host:
    description: Host name to ask for, in the request and in the TLS handshake; the address where it is left out.
    type: str
  path:
    description: Path to ask for.
    type: str
    default: /
  tls:
    description: Whether to use TLS. The certificate is not checked, as it may be on its way or the front door's own.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the answer, all attempts together.
    type: float
    default: 30
attributes:
  check_mode:
    description: Can run in check mode, as it only reads.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Verify that the stack answers
  drydock.stack.probe:
    address: 127.0.0.1
    port: 8000
    path: /readyz
"""

RETURN = r"""
status:
  description: Status of the answer.
  returned: when there was one
  type: int
body:
  description: The first 400 characters of the answer.
  returned: when there was one
  type: str
"""

import http.client
import socket
import ssl
import time

from ansible.module_utils.basic import AnsibleModule

PAUSE = 0.2


def ask(address, port, host, path, tls, timeout):
    """Send one request and return status and body; raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection(host or address, port, timeout=timeout)
    connection.sock = socket.create_connection((address, port), timeout)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection.sock = context.wrap_socket(connection.sock, server_hostname=host or address)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read(400).decode("utf-8", "replace")
    finally:
        connection.close()


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "host": {"type": "str"},
            "path": {"type": "str", "default": "/"},
            "tls": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    end = time.monotonic() + options.pop("timeout")
    status, said = 0, ""
    while status != 200:
        try:
            status, said = ask(**options, timeout=max(end - time.monotonic(), 1))
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__}: {error}"
        if status != 200 and time.monotonic() > end:
            scheme = "https" if options["tls"] else "http"
            url = f"{scheme}://{options['host'] or options['address']}:{options['port']}{options['path']}"
            module.fail_json(msg=f"{url} answers {status or 'not at all'} instead of 200: {said}", status=status, body=said)
        if status != 200:
            time.sleep(PAUSE)
    module.exit_json(changed=False, status=status, body=said)


if __name__ == "__main__":
    main()
