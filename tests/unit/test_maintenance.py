"""Maintenance: the files that close a front door, the secret that leads through, and the page."""

import http.server
import os
import stat
import threading

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.drydock.stack.plugins.action import maintenance as action
from ansible_collections.drydock.stack.plugins.module_utils import maintenance
from ansible_collections.drydock.stack.plugins.module_utils.asking import Probe
from ansible_collections.drydock.stack.plugins.module_utils.release import flip, live, make_folders
from ansible_collections.drydock.stack.plugins.modules import maintenance as module

PAGE = b"<h1>Pause</h1>\n"


@pytest.fixture
def root(tmp_path):
    make_folders(tmp_path)
    flip(tmp_path, "blue")
    return tmp_path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_stack_of_an_earlier_version_gets_what_it_lacks(tmp_path):
    (tmp_path / "proxy" / "live").mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    assert maintenance.lacking(tmp_path, PAGE, 300) == ["page", "retry_after", "bypass", "closed"]
    maintenance.close(tmp_path, PAGE, 300)
    assert maintenance.lacking(tmp_path, PAGE, 300) == []


def test_a_front_door_is_closed_by_a_file_beside_that_of_the_slot(root):
    maintenance.close(root, PAGE, 300)
    assert sorted(file.name for file in (root / "proxy" / "live").iterdir()) == ["blue", "maintenance"]
    assert live(root) == ["blue"]
    assert (root / "proxy" / "maintenance" / "index.html").read_bytes() == PAGE
    assert maintenance.since(root).endswith("Z")


def test_a_flip_leaves_it_closed(root):
    maintenance.close(root, PAGE, 300)
    flip(root, "green")
    assert maintenance.flag(root).exists()
    assert live(root) == ["green"]


def test_the_secret_is_made_once_and_is_private(root):
    maintenance.close(root, PAGE, 300)
    made = maintenance.secret(root)
    assert maintenance.SECRET.fullmatch(made)
    assert len(made) >= 40
    assert mode(maintenance.secret_file(root)) == 0o400
    assert mode(root / "proxy" / "bypass") == 0o711
    maintenance.open_up(root)
    maintenance.close(root, PAGE, 300)
    assert maintenance.secret(root) == made
    assert [file.name for file in (root / "proxy" / "bypass").iterdir()] == [made]


def test_a_secret_that_was_taken_away_leads_through_no_longer(root):
    maintenance.close(root, PAGE, 300)
    before = maintenance.secret(root)
    maintenance.secret_file(root).unlink()
    assert maintenance.lacking(root, PAGE, 300) == ["bypass"]
    maintenance.close(root, PAGE, 300)
    assert not (root / "proxy" / "bypass" / before).exists()
    assert maintenance.headers(root) == {"X-Maintenance-Bypass": maintenance.secret(root)}


@pytest.mark.parametrize("bad", ["short", "a" * 30 + "/..", "a b" * 20, "*" * 30])
def test_a_secret_of_somebody_s_own_that_cannot_work_is_refused(root, bad):
    maintenance.secret_file(root).write_text(bad)
    with pytest.raises(ValueError, match="remove it"):
        maintenance.lacking(root, PAGE, 300)
    assert maintenance.headers(root) == {}


def test_what_has_changed_is_told_alone(root):
    maintenance.close(root, PAGE, 300)
    assert maintenance.lacking(root, b"another", 300) == ["page"]
    assert maintenance.lacking(root, PAGE, 60) == ["retry_after"]
    maintenance.close(root, b"another", 60)
    assert [file.name for file in (root / "proxy" / "maintenance" / "retry_after").iterdir()] == ["60"]


def test_closing_again_keeps_the_time_it_began(root):
    maintenance.close(root, PAGE, 300)
    os.utime(maintenance.flag(root), (0, 1769900000))
    maintenance.close(root, PAGE, 60)
    assert maintenance.since(root) == "2026-01-31T22:53:20Z"


def test_opening_leaves_page_and_secret(root):
    maintenance.close(root, PAGE, 300)
    maintenance.open_up(root)
    maintenance.open_up(root)
    assert maintenance.since(root) == ""
    assert maintenance.lacking(root, PAGE, 300) == ["closed"]


def test_a_run_that_is_cut_off_is_told_from_an_operator(root):
    maintenance.close(root, PAGE, 300, meanwhile=True)
    assert maintenance.left_closed(root)
    assert maintenance.lacking(root, PAGE, 300, meanwhile=True) == []
    # An operator who closes it then means it.
    assert maintenance.lacking(root, PAGE, 300) == ["closed"]
    maintenance.close(root, PAGE, 300)
    assert not maintenance.left_closed(root)
    maintenance.close(root, PAGE, 300, meanwhile=True)
    assert not maintenance.left_closed(root)
    maintenance.open_up(root)
    assert not maintenance.left_closed(root)


class Door(http.server.BaseHTTPRequestHandler):
    """Closed to all who do not send the secret."""

    secret = ""

    def do_GET(self):
        through = self.secret and self.headers["X-Maintenance-Bypass"] == self.secret
        self.send_response(200 if through else 503)
        self.end_headers()
        self.wfile.write(b"in" if through else PAGE)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def door():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"address": "127.0.0.1", "port": server.server_port, "host": "", "path": "/", "tls": False, "header": ""}
        server.shutdown()


def test_a_deploy_gets_through_and_a_stranger_does_not(root, door, monkeypatch):
    deploy = Probe(door, root)
    assert deploy.once(5)[0] == 503
    maintenance.close(root, PAGE, 300)
    monkeypatch.setattr(Door, "secret", maintenance.secret(root))
    assert deploy.once(5)[0] == 200
    assert Probe(door).once(5)[0] == 503


def test_a_door_is_closed_where_it_shows_the_page(door, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.2)
    assert module.closed(Probe(door), PAGE) == (503, True)
    assert module.closed(Probe(door), b"another page") == (503, False)
    assert module.closed(Probe({**door, "port": 1}), PAGE) == (0, True)


def test_the_page_is_taken_byte_for_byte(tmp_path):
    page = tmp_path / "page.html"
    page.write_bytes("<p>ü {{ 1 }}\r\n".encode())
    assert action.content(page).encode() == page.read_bytes()
    assert "<h1>" in action.content(action.OWN)


@pytest.mark.parametrize(("data", "message"), [(None, "cannot be read"), (b"\xff", "not UTF-8"), (b" \n", "is empty")])
def test_a_page_that_cannot_be_shown_is_refused(tmp_path, data, message):
    page = tmp_path / "page.html"
    if data is not None:
        page.write_bytes(data)
    with pytest.raises(AnsibleActionFail, match=rf"^fastapi_maintenance_page is {page}, .*{message}"):
        action.content(page)
