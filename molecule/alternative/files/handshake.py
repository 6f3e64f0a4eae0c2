"""Shake hands as a client that speaks HTTP/2, then HTTP/3, and print what came of it as JSON. Argument: host name."""

import json
import os
import socket
import ssl
import struct
import sys

DOOR = ("127.0.0.1", 443)


def quic_versions():
    """Ask for a version of QUIC that does not exist; the answer is the list of those that do (RFC 8999, section 6)."""
    identifier = os.urandom(8)
    packet = b"\xc0" + bytes.fromhex("1a2a3a4a") + b"\x08" + identifier + b"\x08" + identifier
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(10)
        # What is shorter than this is no first packet, and is not answered.
        door.sendto(packet.ljust(1200, b"\0"), DOOR)
        answer = door.recv(1500)
    if not answer[0] & 0x80 or any(answer[1:5]):
        sys.exit(f"no version negotiation: {answer[:16].hex()}")
    versions = answer[7 + answer[5] + answer[6 + answer[5]] :]
    return [number for (number,) in struct.iter_unpack(">I", versions)]


context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.set_alpn_protocols(["h2", "http/1.1"])
with context.wrap_socket(socket.create_connection(DOOR, 10), server_hostname=sys.argv[1]) as connection:
    told = {
        "protocol": connection.selected_alpn_protocol(),
        "certificate": connection.getpeercert(binary_form=True).decode("latin-1"),
        "quic": quic_versions(),
    }
    print(json.dumps(told))
