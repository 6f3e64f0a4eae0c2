"""Who has a port, asked of this machine with sockets of its own."""

import os
import socket

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import ports


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_process_is_named(listening):
    assert f"(pid {os.getpid()})" in ports.holder(f"127.0.0.1:{listening}")


def test_an_unspecified_address_takes_in_all(listening):
    assert ports.holder(f":{listening}")


def test_another_address_is_free(listening):
    assert ports.holder(f"127.0.0.2:{listening}") == ""


def test_a_free_port_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    assert ports.holder(f"127.0.0.1:{number}") == ""


def test_version_six_is_seen():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert ports.holder(f"[::1]:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("text", "address"), [("0100007F", "127.0.0.1"), ("00000000", "0.0.0.0"), ("00000000000000000000000001000000", "::1")]
)
def test_addresses_are_decoded(text, address):
    assert str(ports.decode(text)) == address
