"""The front door in maintenance, as Caddy itself has it, with the files of a stack and an application behind it."""

from __future__ import annotations

import http.client
import http.server
import itertools
import os
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import maintenance
from ansible_collections.drydock.stack.plugins.module_utils.release import flip, make_folders, publish

PAGE = b"<h1>Pause</h1>\n"
SOURCE = {"main.py": "app = None\n", "requirements.txt": "fastapi\n", "assets/public/style.css": "given"}
HEADER = "X-Maintenance-Bypass"


class Application(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent of the secret, and with the path that it was asked for."""

    def answer(self):
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else f"application [{self.headers[HEADER] or ''}]".encode())

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 (the names that http.server looks for)

    def log_message(self, *arguments):
        """Say nothing."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def door(render, tools, tmp_path):
    """A front door, open, whose live slot answers; `ask` sends it a request, `log` is what it has written."""
    root = tmp_path / "shop"
    make_folders(root)
    flip(root, "green")
    release = render(source=SOURCE, fastapi_static_dir="assets/public")
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    port = free_port()
    text = (release / "Caddyfile").read_text()
    for before, after in {
        "\n:8000 {": f"\nhttp://127.0.0.1:{port} {{",
        "127.0.0.1:2019": f"127.0.0.1:{free_port()}",
        "\n:2020 {": f"\nhttp://127.0.0.1:{free_port()} {{",
        "app-green:8000": f"127.0.0.1:{behind.server_port}",
        "lb_try_duration 5s": "lb_try_duration 100ms",
        "/etc/caddy": str(root / "proxy"),
    }.items():
        assert before in text, before
        text = text.replace(before, after)
    file, log = root / "proxy" / "Caddyfile", tmp_path / "log"
    file.write_text(text)
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [tools["caddy"], "run", "--adapter", "caddyfile", "--config", file]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as caddy:

        def ask(method="GET", path="/", headers=(), body=None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in [*headers, *([("Content-Length", str(len(body)))] if body else [])]:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = SimpleNamespace(status=answer.status, headers=answer.headers, body=answer.read())
            connection.close()
            return found

        for _ in range(100):
            try:
                ask()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield SimpleNamespace(root=root, ask=ask, log=log, behind=behind, release=release)
        caddy.terminate()
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
