"""Shake hands as a client that speaks HTTP/2 and print what came of it as JSON. Argument: host name."""

import json
import socket
import ssl
import sys

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.set_alpn_protocols(["h2", "http/1.1"])
with context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 10), server_hostname=sys.argv[1]) as connection:
    certificate = connection.getpeercert(binary_form=True)
    print(json.dumps({"protocol": connection.selected_alpn_protocol(), "certificate": certificate.decode("latin-1")}))
