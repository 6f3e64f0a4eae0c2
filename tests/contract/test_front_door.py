"""The front door as Caddy itself has it, with the files of a stack and an application behind it: answers, TLS, maintenance."""

from __future__ import annotations

import http.client
import http.server
import itertools
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from types import SimpleNamespace

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import maintenance
from ansible_collections.drydock.stack.plugins.module_utils.release import flip, publish

# Of "open sesame".
HASH = "$2b$10$lUisYhjUXZ8eAW6Dy9T8HOc20vxvAemEDvvyUU5ojKgBb24oyN/b2"
HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
PAGE = b"<h1>Pause</h1>\n"
SOURCE = {"main.py": "app = None\n", "requirements.txt": "fastapi\n", "assets/public/style.css": "given"}
HEADER = "X-Maintenance-Bypass"


class Application(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent of the secret, and with the path that it was asked for."""

    def answer(self):
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.send_header("X-Authorization", self.headers["Authorization"] or "none")
        for name in HARDENED if "own" in self.path else ():
            self.send_header(name, "my own")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else f"application [{self.headers[HEADER] or ''}]".encode())

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 (the names that http.server looks for)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def door(front_door):
    """A front door, open, whose live slot answers; `ask` sends it a request, `log` is what it has written."""
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    started = front_door(behind.server_port, source=SOURCE, fastapi_static_dir="assets/public")

    def ask(method="GET", path="/", headers=(), body=None):
        connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=10)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in [*headers, *([("Content-Length", str(len(body)))] if body else [])]:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = SimpleNamespace(status=answer.status, headers=answer.headers, body=answer.read())
        connection.close()
        return found

    yield SimpleNamespace(root=started.root, ask=ask, log=started.log, behind=behind, release=started.release)
    behind.shutdown()
    behind.server_close()


def test_files_of_the_live_slot_are_served_without_the_application(door):
    for slot, text in (("blue", "old"), ("green", "new")):
        public = door.release / "source" / "assets" / "public"
        public.mkdir(parents=True, exist_ok=True)
        (public / "style.css").write_text(text)
        (public / ".hidden").write_text("hidden")
        publish(door.root, door.release, slot)
    assert door.ask(path="/static/style.css").body == b"new"
    assert door.ask(path="/static/style.css").headers["X-Slot"] == "green"
    flip(door.root, "blue")
    assert door.ask(path="/static/style.css").body == b"old"
    assert door.ask(path="/static/style.css").headers["Etag"]
    flip(door.root, "green")
    # The application has its path as it was sent, and so has a first release with such files before it is live.
    for path in (
        "/static/none",
        "/static/*.css",
        "/static/a%20b/?c=%2F",
        "/static/../Caddyfile",
        "/static/%2e%2e/%2e%2e/Caddyfile",
    ):
        assert door.ask(path=path).headers["X-Path"] == path
    assert door.ask(path="/static/.hidden").status == 404
    for file in (door.root / "proxy" / "static" / "green").rglob("*"):
        file.unlink()
    assert door.ask(path="/static/style.css").headers["X-Path"] == "/static/style.css"
    flip(door.root, "blue")
    maintenance.close(door.root, PAGE, 300)
    assert door.ask(path="/static/style.css").status == 503
    (door.release / "static").unlink()
    publish(door.root, door.release, "blue")
    assert [entry.name for entry in (door.root / "proxy" / "static").iterdir()] == ["green"]


def test_it_is_closed_and_opened_without_a_reload(door):
    assert door.ask().body == b"application []"
    maintenance.close(door.root, PAGE, 300)
    assert door.ask().status == 503
    maintenance.open_up(door.root)
    assert door.ask().body == b"application []"


def test_every_method_gets_the_page_on_every_path(door):
    maintenance.close(door.root, PAGE, 300)
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
    paths = ("/", "/notes/1?x=y", "/index.html/", "/../live/maintenance")
    for method, path in itertools.product(methods, paths):
        answer = door.ask(method, path, body=b"x" * 100 if method != "GET" else None)
        assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, PAGE, "300")
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.headers["Cache-Control"] == "no-store"
    answer = door.ask("HEAD")
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"", "300")


def test_the_page_is_sent_as_a_whole_or_told_in_words(door):
    maintenance.close(door.root, PAGE, 300)
    late = "Sat, 29 Oct 2033 19:43:31 GMT"
    for header in (("If-None-Match", "*"), ("If-Modified-Since", late), ("If-Match", '"x"'), ("Range", "bytes=0-3")):
        answer = door.ask(headers=[header])
        assert (answer.status, answer.body) == (503, PAGE), header
    (door.root / "proxy" / "maintenance" / "index.html").unlink()
    answer = door.ask("POST")
    assert (answer.status, answer.body) == (503, b"Down for maintenance")


def test_the_secret_leads_through_and_stays_behind(door):
    maintenance.close(door.root, PAGE, 300)
    answer = door.ask("POST", headers=maintenance.headers(door.root).items(), body=b"x")
    assert (answer.status, answer.body, answer.headers["X-Slot"]) == (200, b"application []", "green")


def test_nothing_else_leads_through(door):
    maintenance.close(door.root, PAGE, 300)
    secret, filler = maintenance.secret(door.root), "a" * 24
    single = [
        "", ".", "..", "/", "*", "?" * len(secret), f"{secret[:-1]}*", f"{secret[:-1]}?", f"[{secret[0]}]{secret[1:]}",
        f"{secret}/", f"{secret}/.", f"/{secret}", f"./{secret}", f"../bypass/{secret}", f"{filler}/../{secret}", f"{filler}/..",
        f"{filler}/../", secret[:-1], f"{secret}x", secret.swapcase(), f"\\{secret}", f"{secret},", "{http.request.host}", filler,
    ]  # fmt: skip
    for values in [*([value] for value in single), [secret, secret], [secret, ""], [filler, "/../"], [filler, f"/../{secret}"]]:
        assert door.ask(headers=[(HEADER, value) for value in values]).status == 503, values


def test_the_secret_is_not_logged_where_the_application_fails(door):
    maintenance.close(door.root, PAGE, 300)
    door.behind.shutdown()
    door.behind.server_close()
    assert door.ask(headers=maintenance.headers(door.root).items()).status == 502
    assert maintenance.secret(door.root) not in door.log.read_text()


# --- What stands in its answers ---


def tls_context(version=None):
    """Return a context that trusts everybody, and speaks nothing but the version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # The versions that are to be refused are those that OpenSSL itself does not speak otherwise.
    context.set_ciphers("ALL:@SECLEVEL=0")
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def shake_hands(port, name="localhost", version=None):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        return tls_context(version).wrap_socket(plain, server_hostname=name)


def ask_tls(port, path="/", host="localhost"):
    """Ask the site of the domain; `host` may be another than the one of the handshake."""
    with shake_hands(port) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_answers_are_hardened_unless_the_application_has_said_it(door):
    for path, status in (("/", 200), ("/static/style.css", 200), ("/static/.hidden", 404)):
        answer = door.ask(path=path)
        assert answer.status == status or path != "/"
        assert {name: answer.headers.get_all(name) for name in HARDENED} == {name: [value] for name, value in HARDENED.items()}
        assert {"Server", "Via", "Strict-Transport-Security"}.isdisjoint(answer.headers)
    answer = door.ask(path="/own")
    assert {name: answer.headers.get_all(name) for name in HARDENED} == {name: ["my own"] for name in HARDENED}


def test_answers_of_its_own_are_hardened_too(door):
    """Maintenance, a refused method, and an application that is not there."""
    maintenance.close(door.root, PAGE, 300)
    answers = [door.ask()]
    maintenance.open_up(door.root)
    answers += [door.ask("TRACE"), door.ask("CONNECT")]
    door.behind.shutdown()
    door.behind.server_close()
    answers.append(door.ask())
    assert [answer.status for answer in answers] == [503, 405, 405, 502]
    assert all("TRACE" not in answer.headers["Allow"].split(", ") for answer in answers if answer.status == 405)
    for answer in answers:
        assert {name: answer.headers[name] for name in HARDENED} == HARDENED
        assert {"Server", "Via"}.isdisjoint(answer.headers)


# --- With a domain ---


@pytest.fixture
def domain(front_door):
    """The front door of a stack with a domain and certificates of its own."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application) as behind:
        threading.Thread(target=behind.serve_forever, daemon=True).start()
        door = front_door(behind.server_port, fastapi_domain="localhost", fastapi_tls="internal")
        # The certificate is made once the front door listens.
        for _ in range(100):
            try:
                shake_hands(door.tls_port).close()
                break
            except ssl.SSLError:
                time.sleep(0.1)
        yield door
        behind.shutdown()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_from_1_2_on_is_spoken(domain, version):
    with shake_hands(domain.tls_port, version=version) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_refused(domain, version):
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        shake_hands(domain.tls_port, version=version)


def test_a_domain_is_answered_by_tls_alone(domain):
    answer = ask_tls(domain.tls_port)
    assert answer.startswith("HTTP/1.0 200 ")
    assert re.findall("^Strict-Transport-Security: (.*)\r$", answer, re.MULTILINE) == ["max-age=31536000"]
    assert "\nServer:" not in answer
    connection = http.client.HTTPConnection("127.0.0.1", domain.port, timeout=5)
    connection.request("GET", "/notes?x=1", headers={"Host": "localhost"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/notes?x=1")
    assert "Server" not in answer.headers
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1", "localhost.evil.example"])
def test_another_host_is_refused(domain, host):
    answer = ask_tls(domain.tls_port, host=host)
    assert answer.startswith("HTTP/1.0 421 ")
    assert "\nServer:" not in answer
    connection = http.client.HTTPConnection("127.0.0.1", domain.port, timeout=5)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Server"]) == (421, None)
    with pytest.raises(ssl.SSLError):
        shake_hands(domain.tls_port, name=host)


# --- Paths with a password ---


@pytest.fixture
def locked(front_door):
    """Ask a front door that wants a password for /docs; takes the path, and the password where one is given."""
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    users = {"me": HASH, "nobody@example.com": HASH}

    def start(*paths):
        door = front_door(behind.server_port, fastapi_basic_auth_paths=list(paths), fastapi_basic_auth_users=users)

        def ask(path, password=None, user="me"):
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
            connection.putrequest("GET", path)
            if password is not None:
                connection.putheader("Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")
            connection.endheaders()
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer

        return ask

    yield start
    behind.shutdown()
    behind.server_close()


def test_a_path_is_answered_to_those_who_know_the_password(locked):
    ask = locked("/docs", "/open.json")
    for path in ("/docs", "/docs/", "/docs/x", "/open.json"):
        refused = ask(path)
        assert (refused.status, refused.headers["X-Path"]) == (401, None)
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        assert refused.headers["X-Frame-Options"] == "SAMEORIGIN"
        answer = ask(path, "open sesame")
        # The application has no business with the password.
        assert (answer.status, answer.headers["X-Path"], answer.headers["X-Authorization"]) == (200, path, "none")
    assert ask("/docs", "open sesame", "nobody@example.com").status == 200
    wrong = [("open sesam", "me"), ("", "me"), (HASH, "me"), ("open sesame", "you"), ("open sesame", "")]
    assert [ask("/docs", *pair).status for pair in wrong] == [401] * len(wrong)
    for path in ("/", "/document", "/openxjson", "/readyz"):
        assert (ask(path).status, ask(path, "of the application").headers["X-Authorization"][:6]) == (200, "Basic ")


def test_no_spelling_of_a_path_gets_past_the_password(locked):
    ask = locked("/docs")
    spelled = [
        "//docs", "/./docs", "/x/../docs", "/docs/..", "/docs/../x", "/docs/../readyz", "/%64ocs", "/%2564ocs/../docs",
        "/docs%2f", "/docs%2Fx", "/x/%2e%2e/docs", "/docs/%2e%2e/x", "/DOCS", "/docs?x", "/docs/;x", "///docs///x",
        "http://other.example/docs",
    ]  # fmt: skip
    assert {path: ask(path).status for path in spelled} == dict.fromkeys(spelled, 401)


def test_all_is_locked_but_readiness(locked):
    ask = locked("/")
    assert [ask(path).status for path in ("/", "/x", "/readyz/", "/x/../readyz", "/READYZ", "//readyz")] == [401] * 6
    assert ask("/readyz").status == 200
    assert ask("/x", "open sesame").status == 200
