# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""One HTTP request, as a client sends it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.drydock.stack.plugins.module_utils import maintenance

SHOWN = 400
PAUSE = 0.1


def ask(
    address: str,
    port: int,
    host: str = "",
    path: str = "/",
    tls: bool = False,
    timeout: float = 30,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str, Mapping[str, str]]:
    """Send a GET request with the ``headers``; return status, the first 400 characters and the headers of the answer.

    Where there is none the status is 0 and the text says why. ``host`` is asked for in the request and in the TLS handshake,
    the address where it is "". The certificate is not checked, as it may be on its way, or the front door's own.
    """
    connection = http.client.HTTPConnection(host or address, port, timeout=timeout)
    try:
        connection.sock = socket.create_connection((address, port), timeout)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host or address)
        connection.request("GET", path, headers={"Connection": "close", **({"Host": host} if host else {}), **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read(SHOWN).decode("utf-8", "replace"), answer.headers
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}", {}
    finally:
        connection.close()


class Probe:
    """How a front door is asked: address, port, host, path and tls as for `ask`, and the header of the slot, "" for none.

    ``root`` is the stack's folder, whose secret leads through maintenance; without it the door is asked as strangers do.
    """

    def __init__(self, options: Mapping[str, Any], root: Path | None = None) -> None:
        self.root = root
        self.options = {**options, "port": int(options["port"]), "tls": boolean(options["tls"])}
        self.header = self.options.pop("header")

    @property
    def url(self) -> str:
        scheme = "https" if self.options["tls"] else "http"
        return f"{scheme}://{self.options['host'] or self.options['address']}:{self.options['port']}{self.options['path']}"

    def once(self, timeout: float) -> tuple[int, str, str]:
        """Return status, slot and text of one answer; the slot is "" where none is named."""
        # Read each time: maintenance may begin meanwhile.
        bypass = maintenance.headers(self.root) if self.root else {}
        status, said, headers = ask(**self.options, timeout=timeout, headers=bypass)
        return status, headers.get(self.header, "") if self.header else "", said

    def until(self, slot: str, timeout: float) -> str:
        """Ask until the slot answers 200, for so many seconds; return what is answered instead, "" where it does."""
        end = time.monotonic() + timeout
        while True:
            status, found, said = self.once(max(end - time.monotonic(), 1))
            if status == 200 and (not self.header or found == slot):
                return ""
            if time.monotonic() > end:
                break
            time.sleep(PAUSE)
        instead = f"from slot {found or '?'} instead of {slot}" if status == 200 else f"{status or 'not at all'} instead of 200"
        return f"{self.url} answers {instead}: {said}"
