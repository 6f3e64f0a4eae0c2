"""A hostile client before a real Caddy, with a real uvicorn behind it: nothing is smuggled, and others are answered meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "files" / "sample_app"
# Connections of a crowd; bounded, as is the time for which they are held.
CROWD = 2000
# Seconds in which everybody else is answered meanwhile, on a busy machine.
PATIENCE = 10.0
SHORTER = {"read_header 10s": "read_header 2s", "idle 2m": "idle 2s"}

NEXT = "GET @/next HTTP/1.1\r\nHost: shop\r\n\r\n"
EMPTY_CHUNKS = f"0\r\n\r\n{NEXT}"
REFUSED: list[str] = []
ONE, BOTH = ["@"], ["@", "@/next"]


def post(*headers: str, body: str = "hello", version: str = "HTTP/1.1", line: str = "\r\n") -> str:
    return line.join([f"POST @ {version}", "Host: shop", *headers, "", ""]) + body


def get(*headers: str, target: str = "@", version: str = "HTTP/1.1", host: str = "Host: shop") -> str:
    return "\r\n".join([f"GET {target} {version}", *([host] if host else []), *headers, "", ""])


# What is sent, and the requests that the application may see of it whole: by the strict reading, and where it leaves a choice by
# each of them. `@` is the path of the shape; what is sent as two requests by that reading is seen as two.
SHAPES: dict[str, tuple[str, list[list[str]]]] = {
    # --- Two lengths ---
    "length and chunks": (post("Content-Length: 6", "Transfer-Encoding: chunked", body=EMPTY_CHUNKS), [REFUSED, BOTH]),
    "chunks and length": (post("Transfer-Encoding: chunked", "Content-Length: 4", body=EMPTY_CHUNKS), [REFUSED, BOTH]),
    "length and odd chunks": (post("Content-Length: 44", "Transfer-Encoding: xchunked", body=NEXT), [REFUSED]),
    "two lengths that differ": (post("Content-Length: 0", "Content-Length: 44", body=NEXT), [REFUSED]),
    "two lengths that are the same": (post("Content-Length: 5", "Content-Length: 5"), [REFUSED, ONE]),
    "a list of lengths that differ": (post("Content-Length: 5, 44", body=f"hello{NEXT}"), [REFUSED]),
    "a list of lengths that are the same": (post("Content-Length: 5, 5"), [REFUSED, ONE]),
    # --- A length that is none ---
    "a length with a sign": (post("Content-Length: +5"), [REFUSED]),
    "a length below nothing": (post("Content-Length: -5"), [REFUSED]),
    "a length in hexadecimal": (post("Content-Length: 0x5"), [REFUSED]),
    "a length with an underscore": (post("Content-Length: 5_0"), [REFUSED]),
    "a length with a space": (post("Content-Length: 5 5"), [REFUSED]),
    "a length beyond all numbers": (post("Content-Length: 99999999999999999999"), [REFUSED]),
    # Debian's Caddy takes it for 0, and says so to the application.
    "an empty length": (post("Content-Length: ", body=NEXT), [REFUSED, BOTH]),
    "a space before the colon of the length": (post("Content-Length : 44", body=NEXT), [REFUSED]),
    # --- An encoding that is hidden ---
    "an unknown encoding": (post("Transfer-Encoding: xchunked", body=EMPTY_CHUNKS), [REFUSED]),
    "chunked twice": (post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "chunked, then identity": (post("Transfer-Encoding: chunked, identity", body=EMPTY_CHUNKS), [REFUSED]),
    "identity": (post("Transfer-Encoding: identity", body=EMPTY_CHUNKS), [REFUSED]),
    "identity and chunked": (post("Transfer-Encoding: identity", "Transfer-Encoding: chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "gzip, then chunked": (post("Transfer-Encoding: gzip, chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "chunked in quotes": (post('Transfer-Encoding: "chunked"', body=EMPTY_CHUNKS), [REFUSED]),
    "chunked with a parameter": (post("Transfer-Encoding: chunked;q=1", body=EMPTY_CHUNKS), [REFUSED]),
    "a space before the colon of the encoding": (post("Transfer-Encoding : chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "a space before the encoding": (post(" Transfer-Encoding: chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "a vertical tab before chunked": (post("Transfer-Encoding:\x0bchunked", body=EMPTY_CHUNKS), [REFUSED]),
    "NUL before chunked": (post("Transfer-Encoding: \x00chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "a bare CR before the encoding": (post("Foo: bar\rTransfer-Encoding: chunked", body=EMPTY_CHUNKS), [REFUSED]),
    "a tab before chunked": (post("Transfer-Encoding:\tchunked", body=EMPTY_CHUNKS), [REFUSED, BOTH]),
    "an encoding in capitals": (post("TRANSFER-ENCODING: CHUNKED", body=EMPTY_CHUNKS), [REFUSED, BOTH]),
    "a folded encoding": (post("Transfer-Encoding:", "\tchunked", body=EMPTY_CHUNKS), [REFUSED, BOTH]),
    "a bare LF before the encoding": (
        post("X: X\nTransfer-Encoding: chunked", "Content-Length: 0", body=EMPTY_CHUNKS),
        [REFUSED, BOTH],
    ),
    # --- Chunks ---
    "a chunk with an extension": (post("Transfer-Encoding: chunked", body="5;a=b\r\nhello\r\n0\r\n\r\n"), [REFUSED, ONE]),
    "an extension with a bare LF": (post("Transfer-Encoding: chunked", body=f"5;a\nhello\r\n{EMPTY_CHUNKS}"), [REFUSED]),
    "chunks with bare LF": (post("Transfer-Encoding: chunked", body=f"5\nhello\n0\n\n{NEXT}"), [REFUSED]),
    "a chunk's size with 0x": (post("Transfer-Encoding: chunked", body=f"0x5\r\nhello\r\n{EMPTY_CHUNKS}"), [REFUSED]),
    "a chunk's size with a sign": (post("Transfer-Encoding: chunked", body=f"+5\r\nhello\r\n{EMPTY_CHUNKS}"), [REFUSED]),
    "a chunk's size below nothing": (post("Transfer-Encoding: chunked", body=f"-1\r\nhello\r\n{EMPTY_CHUNKS}"), [REFUSED]),
    "a chunk's size beyond all numbers": (
        post("Transfer-Encoding: chunked", body=f"ffffffffffffffff1\r\nhello\r\n{EMPTY_CHUNKS}"),
        [REFUSED],
    ),
    "a chunk longer than its size": (post("Transfer-Encoding: chunked", body=f"5\r\nhelloXX{EMPTY_CHUNKS}"), [REFUSED]),
    "a chunk without its end": (post("Transfer-Encoding: chunked", body=f"5\r\nhello{EMPTY_CHUNKS}"), [REFUSED]),
    "a trailer with a length": (
        post("Transfer-Encoding: chunked", body="0\r\nContent-Length: 44\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"),
        [REFUSED, ONE],
    ),
    # --- Other versions ---
    "chunks in HTTP/1.0": (
        post("Transfer-Encoding: chunked", "Connection: keep-alive", body=EMPTY_CHUNKS, version="HTTP/1.0"),
        [REFUSED, ONE],
    ),
    "a request in place of chunks in HTTP/1.0": (
        post("Transfer-Encoding: chunked", "Connection: keep-alive", body=NEXT, version="HTTP/1.0"),
        [REFUSED, ONE],
    ),
    "length and chunks in HTTP/1.0": (
        post("Transfer-Encoding: chunked", "Content-Length: 5", body=EMPTY_CHUNKS, version="HTTP/1.0"),
        [REFUSED, ONE],
    ),
    "HTTP/0.9": ("GET @\r\n\r\n", [REFUSED]),
    "HTTP/1.2": (get(version="HTTP/1.2"), [REFUSED, ONE]),
    "HTTP/2.0 in clear text": (get(version="HTTP/2.0"), [REFUSED]),
    "the preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [REFUSED]),
    "an upgrade to HTTP/2": (
        get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        [REFUSED, ONE],
    ),
    # --- Upgrades ---
    "an upgrade with a request as its body": (
        post("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 44", body=NEXT),
        [REFUSED, ONE],
    ),
    "an upgrade that fails, and a request": (
        get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777") + NEXT,
        [REFUSED, ["@/next"]],
    ),
    # --- The request line ---
    "a body of a GET": (get("Content-Length: 5") + "hello", [REFUSED, ONE]),
    "two spaces": (get(target=" @"), [REFUSED]),
    "tabs for spaces": ("GET\t@\tHTTP/1.1\r\nHost: shop\r\n\r\n", [REFUSED]),
    "a space in the target": (get(target="@ @/next"), [REFUSED]),
    "a CR in the target": (get(target="@\rX"), [REFUSED]),
    "NUL in the target": (get(target="@\x00"), [REFUSED]),
    "a target without a slash": (get(target="next"), [REFUSED]),
    "a target that is badly encoded": (get(target="@/%zz"), [REFUSED]),
    "line breaks in a target, encoded": (get(target="@/%0d%0aX:%20y"), [REFUSED, ["@/%0d%0aX:%20y"]]),
    "a method of no token": ("GE(T @ HTTP/1.1\r\nHost: shop\r\n\r\n", [REFUSED]),
    "an unknown method": ("BREW @ HTTP/1.1\r\nHost: shop\r\n\r\n", [REFUSED]),
    "empty lines first": ("\r\n\r\n" + get(), [REFUSED, ONE]),
    "a target in absolute form": (get(target="http://other.example@"), [REFUSED, ONE]),
    "a target of another scheme": (get(target="ftp://other.example@"), [REFUSED, ONE]),
    "CONNECT to another host": ("CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n", [REFUSED]),
    "CONNECT to a path": ("CONNECT @ HTTP/1.1\r\nHost: shop\r\n\r\n", [REFUSED]),
    "TRACE": ("TRACE @ HTTP/1.1\r\nHost: shop\r\n\r\n", [REFUSED]),
    # --- Headers ---
    "bare LF after each line": (post("Content-Length: 5", line="\n"), [REFUSED, ONE]),
    "no host": (get(host=""), [REFUSED]),
    "two hosts": (get("Host: other"), [REFUSED]),
    "a host with a space": (get(host="Host: sh op/x"), [REFUSED]),
    "a host with a name and a password": (get(host="Host: a@b:c"), [REFUSED]),
    "a control character in a name": (get("X\x01: a"), [REFUSED]),
    "NUL in a value": (get("X: a\x00b"), [REFUSED]),
    "a line without a colon": (get("broken"), [REFUSED]),
    "an empty name": (get(": a"), [REFUSED]),
    "an expectation that nobody knows": (post("Expect: 200-maybe", "Content-Length: 5"), [REFUSED]),
    "headers that are named for one hop": (get("Connection: close, Host, X-Forwarded-For", "X-Forwarded-For: 192.0.2.7"), [ONE]),
}


def exchange(port: int, sent: bytes, silence: float = 1.5) -> bytes:
    """Send bytes and return what comes until the connection ends, or nothing has come for a while."""
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
        connection.settimeout(silence)
        connection.sendall(sent)
        while block := connection.recv(65536):
            received += block
    return received


def ask(port: int, path: str = "/livez") -> tuple[int, float]:
    """Ask as anybody does; return the status and the seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - began


class Others(threading.Thread):
    """Somebody who goes on asking one request after the other, until `stop`; `slowest` is in seconds."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.statuses, self.slowest, self.over = port, Counter(), 0.0, threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                status, seconds = ask(self.port)
            except OSError as error:
                status, seconds = repr(error), 0.0
            self.statuses[status] += 1
            self.slowest = max(self.slowest, seconds)
            time.sleep(0.05)

    def __enter__(self) -> Others:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def were_answered(self, at_least: int = 3) -> bool:
        return set(self.statuses) == {200} and self.statuses[200] >= at_least and self.slowest < PATIENCE


@pytest.fixture(scope="module", params=["caddy", "caddy_of_today"])
def caddy(request):
    return request.param


@pytest.fixture(scope="module")
def behind(run_application, tmp_path_factory):
    """The application that writes down what it sees."""
    with run_application(tmp_path_factory.mktemp("recorder")) as running:
        yield running


@pytest.fixture(scope="module")
def door(run_front_door, tmp_path_factory, caddy, behind):
    """The front door of it, with shorter times and less to take."""
    folder = tmp_path_factory.mktemp("door")
    with run_front_door(caddy, folder, behind.port, changed=SHORTER, fastapi_request_body_limit="1MB") as running:
        yield running


@pytest.fixture(scope="module")
def sample_application(run_application, tmp_path_factory):
    with run_application(tmp_path_factory.mktemp("sample"), "main:app", SAMPLE) as running:
        yield running


@pytest.fixture(scope="module")
def sample(run_front_door, tmp_path_factory, caddy, sample_application):
    """The front door of the sample application, with shorter times."""
    with run_front_door(caddy, tmp_path_factory.mktemp("sample-door"), sample_application.port, changed=SHORTER) as running:
        yield running


@pytest.fixture
def seen(behind):
    """What the application has seen since the test began."""
    before = len(behind.seen())
    return lambda: behind.seen()[before:]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have as many connections as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def hold(port: int, number: int, first: bytes = b"") -> list[socket.socket]:
    """Open connections, and send each of them the same beginning."""
    held = []
    for _ in range(number):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(first)
        held.append(connection)
    return held


def ended(connections: list[socket.socket], within: float) -> int:
    """Return how many of the connections the other side ends within so many seconds."""
    count, end = 0, time.monotonic() + within
    for connection in connections:
        connection.settimeout(max(0.01, end - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            count += 1
    return count


def memory_of(process: int) -> int:
    """Return the megabytes that a process has in memory."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1]) // 1024


# --- Smuggling ---


def test_no_request_is_smuggled(door, seen, say):
    """The application sees the requests of a strict reading, as many as are answered, and nobody gets the answer of another."""
    answers: dict[str, bytes] = {}

    def send(number: int, name: str) -> None:
        answers[name] = exchange(door.port, SHAPES[name][0].replace("@", f"/shape{number}").encode("latin-1"))

    with Others(door.port) as others:
        threads = [threading.Thread(target=send, args=place) for place in enumerate(SHAPES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert others.were_answered(), (others.statuses, others.slowest)
    whole = [request for request in seen() if request["whole"]]
    for number, (name, (_, strict)) in enumerate(SHAPES.items()):
        path = f"/shape{number}"
        found = [request["target"] for request in whole if re.match(rf"{path}(/|$)", request["target"])]
        assert found in [[target.replace("@", path) for target in targets] for targets in strict], (name, found, answers[name])
        told = re.findall(rb"^seen (\S+)\r?$", answers[name], re.MULTILINE)
        assert [target.decode() for target in told] == found, (name, found, answers[name])
    unknown = [request["target"] for request in whole if not request["target"].startswith(("/shape", "/livez"))]
    assert unknown == []
    refused = sum(strict == [REFUSED] for _, strict in SHAPES.values())
    say(f"{len(SHAPES)} shapes, {refused} of which have to be refused ")


def test_nothing_that_is_forged_gets_through(door, seen):
    """Who asks and how, and which slot answers, is the front door's to say."""
    forged = {
        "Forwarded": "for=192.0.2.7;proto=https;host=evil.example",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-User": "root",
        "X-Real-IP": "192.0.2.7",
        "X-Slot": "blue",
        "X-Maintenance-Bypass": "s" * 40,
    }
    for of_one_hop in ("close", "close, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host"):
        headers = {**forged, "Connection": of_one_hop}
        text = get(*(f"{name}: {value}" for name, value in headers.items()), target="/?header=x-slot:blue&header=X-Slot:red")
        answer = exchange(door.port, text.encode()).decode()
        assert re.findall(r"^X-Slot: (\w+)", answer, re.MULTILINE | re.IGNORECASE) == ["green"]
        request = seen()[-1]
        assert (request["client"], request["scheme"]) == ("127.0.0.1", "http")
        given = dict(request["headers"])
        assert {name: value for name, value in given.items() if name.startswith(("x-", "forwarded"))} == {
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-host": "shop",
            "x-forwarded-proto": "http",
        }


# --- Slow ---


def test_slow_headers_are_ended(sample):
    """A header that comes a byte at a time is ended after its time, however long it goes on."""
    with Others(sample.port) as others:
        slow = hold(sample.port, 200, b"GET /livez HTTP/1.1\r\nHost: shop\r\nX-Slow: ")
        began = time.monotonic()
        left = list(slow)
        while left and time.monotonic() - began < 10:
            for connection in list(left):
                try:
                    connection.sendall(b"a")
                except OSError:
                    left.remove(connection)
            time.sleep(0.2)
        assert left == []
    assert others.were_answered(), (others.statuses, others.slowest)


def test_slow_bodies_keep_nobody_waiting(sample, say):
    """A body that comes a byte at a time may take its time, and others are answered meanwhile."""
    head = b"POST /notes HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    with Others(sample.port) as others:
        slow = hold(sample.port, 500, head)
        for _ in range(10):
            for connection in slow:
                connection.sendall(b" ")
            time.sleep(0.2)
        assert ended(slow[:50], within=0.5) == 0
    assert others.were_answered(), (others.statuses, others.slowest)
    say(f"500 slow bodies: others answered within {others.slowest:.2f} s ")


def test_clients_that_do_not_read_keep_nobody_waiting(door):
    """Answers that nobody takes are held up, and no one else's."""
    with Others(door.port) as others:
        held = hold(door.port, 20, b"GET /?size=20000000 HTTP/1.1\r\nHost: shop\r\n\r\n")
        time.sleep(2)
    for connection in held:
        connection.close()
    assert others.were_answered(), (others.statuses, others.slowest)


# --- Huge ---


@pytest.mark.parametrize("of", ["one line", "many lines", "the target"])
def test_huge_headers_are_refused(sample, of):
    """Headers beyond 32 kB and what Go gives on top are refused; those below are not."""
    for size, statuses in ((20_000, {200, 404}), (60_000, {431})):
        lines = {
            "one line": [f"X-Huge: {'a' * size}"],
            "many lines": [f"X-{number}: {'a' * 90}" for number in range(size // 100)],
            "the target": [],
        }[of]
        target = f"/livez?{'a' * size}" if of == "the target" else "/livez"
        answer = exchange(sample.port, get(*lines, "Connection: close", target=target).encode())
        assert int(answer.split(b" ", 2)[1]) in statuses, (size, answer[:100])
        # What the application refuses by itself has come too far.
        assert (b"X-Slot: " in answer) is (431 not in statuses)
    assert ask(sample.port)[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_huge_bodies_are_refused(door, seen, chunked):
    """A body beyond the limit is refused, its length told or not, and the application has none of it whole."""
    block, sent, answer = b"a" * 65536, 0, b""
    head = "Transfer-Encoding: chunked" if chunked else "Content-Length: 50000000"
    with Others(door.port) as others, socket.create_connection(("127.0.0.1", door.port), timeout=5) as connection:
        # Where the front door ends the connection while the body is on its way, its answer may be lost.
        with contextlib.suppress(ConnectionError):
            connection.sendall(post(head, body="").replace("@", "/huge").encode())
            while sent < 50_000_000:
                connection.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
                sent += len(block)
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65536)
        time.sleep(0.3)
    assert b" 413 " in answer[:20] or (answer == b"" and sent < 40_000_000)
    assert [request for request in seen() if request["whole"] and request["target"] == "/huge"] == []
    assert others.were_answered(at_least=1), (others.statuses, others.slowest)


# --- Many ---


@pytest.mark.parametrize("first", [b"", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n"])
def test_a_crowd_that_does_nothing_keeps_nobody_waiting(sample, many_files, say, first):
    """2,000 connections that say nothing, half of a request, or nothing after one: others are answered, and all are ended."""
    before = memory_of(sample.process.pid)
    crowd = hold(sample.port, CROWD, first)
    for connection in crowd if first.endswith(b"\r\n\r\n") else []:
        assert b" 200 " in connection.recv(100)
    most = memory_of(sample.process.pid)
    with Others(sample.port) as others:
        assert ended(crowd, within=20) == CROWD
    for connection in crowd:
        connection.close()
    assert others.were_answered(), (others.statuses, others.slowest)
    say(f"{CROWD} connections after {len(first)} bytes: others answered within {others.slowest:.2f} s, {most - before} MB more ")
