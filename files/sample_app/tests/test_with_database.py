"""What the application does with a real PostgreSQL, and when that goes away and comes back."""

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import quote

import pytest

WORKERS = 2
POOL = {"DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "1", "DB_POOL_TIMEOUT": "30", "WEB_CONCURRENCY": str(WORKERS)}


@pytest.fixture(scope="module")
def database(new_database, alembic):
    variables = new_database()
    migrated = alembic("upgrade", "head", **variables)
    assert migrated.returncode == 0, migrated.stderr
    return variables


@pytest.fixture(scope="module")
def application(serve, database):
    return serve(**database, **POOL, RELEASE="r1", REVISION="0f1e2d3")


@pytest.fixture
def controlled(postgres):
    if not postgres.controlled:
        pytest.skip("the server of TEST_DATABASE_URL is not ours to stop")
    return postgres


def test_it_waits_for_the_migration(serve, new_database, alembic):
    database = new_database()
    application = serve(**database)
    assert application.get("/readyz").status_code == 503
    assert application.get("/readyz").json()["detail"] == "The database is at migration none; this release needs 0001."
    assert application.get("/notes").status_code == 503
    assert "Run: alembic upgrade head" in application.get("/notes").json()["detail"]
    assert application.get("/").status_code == 200
    assert "Run: alembic upgrade head" in application.get("/").text
    assert alembic("upgrade", "head", **database).returncode == 0
    assert application.get("/readyz").status_code == 200
    assert application.get("/notes").json() == []
    assert "No notes yet." in application.get("/").text


def test_the_migrations_make_what_the_models_say(database, alembic):
    checked = alembic("check", **database)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_migrations_go_back_and_forth(new_database, alembic):
    database = {name: quote(value, safe="") for name, value in new_database().items()}
    url = "postgresql://{DB_USER}:{DB_PASSWORD}@{DB_HOST}:{DB_PORT}/{DB_NAME}".format_map(database)
    for arguments in (("upgrade", "head"), ("downgrade", "base"), ("upgrade", "head")):
        migrated = alembic(*arguments, DATABASE_URL=url)
        assert migrated.returncode == 0, migrated.stderr


def test_it_is_ready_from_the_revision_of_the_code_on(application, database, postgres):
    assert application.get("/readyz").json() == {"status": "ready", "release": "r1", "migration": "0001"}
    postgres.execute("UPDATE alembic_version SET version_num = 'newer'", database["DB_NAME"])
    try:
        ahead = application.get("/readyz")
        postgres.execute("DELETE FROM alembic_version", database["DB_NAME"])
        behind = application.get("/readyz")
    finally:
        postgres.execute("DELETE FROM alembic_version", database["DB_NAME"])
        postgres.execute("INSERT INTO alembic_version VALUES ('0001')", database["DB_NAME"])
    assert (ahead.status_code, ahead.json()["migration"]) == (200, "newer")
    assert behind.status_code == 503
    assert behind.json()["detail"] == "The database is at migration none; this release needs 0001."


def test_notes_are_created_listed_and_deleted(application):
    created = [application.post("/notes", json={"text": text}) for text in ("  first ", "second 😀\nline", "x" * 500)]
    assert [answer.status_code for answer in created] == [201] * 3
    first, second, third = (answer.json() for answer in created)
    assert [note["text"] for note in (first, second, third)] == ["first", "second 😀\nline", "x" * 500]
    assert application.get("/notes").json()[:3] == [third, second, first]
    assert application.get("/notes", params={"limit": 2}).json() == [third, second]

    for note in (first, second, third):
        answer = application.delete(f"/notes/{note['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
    answer = application.delete(f"/notes/{first['id']}")
    assert answer.status_code == 404
    assert answer.json() == {"detail": f"There is no note {first['id']}."}
    assert first not in application.get("/notes").json()


def test_the_page_adds_shows_and_deletes(application, postgres):
    text = '<b>bold</b> & "quoted"\r\nline'
    answer = application.post("/add", data={"text": text})
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")
    newest = application.get("/notes", params={"limit": 1}).json()[0]
    assert newest["text"] == text.replace("\r\n", "\n")

    page = application.get("/").text
    [(version,)] = postgres.execute("SHOW server_version")
    assert f"PostgreSQL {version.split()[0]}, ok" in page
    assert "r1" in page
    assert "0f1e2d3" in page
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#34;quoted&#34;\nline" in page
    assert "<b>" not in page

    answer = application.post("/delete", data={"note_id": newest["id"]})
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")
    assert newest not in application.get("/notes").json()


OWN_CONNECTIONS = "FROM pg_stat_activity WHERE application_name = 'notes' AND datname = '{DB_NAME}'"


def test_workers_keep_to_their_pools(application, database, postgres):
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(application.get, ["/notes", "/"] * 40)
        assert {answer.status_code for answer in answers} == {200}
    [(connections,)] = postgres.execute(f"SELECT count(*) {OWN_CONNECTIONS.format_map(database)}")
    assert 1 <= connections <= WORKERS * (1 + 1 + 1)


def test_a_pool_that_is_used_up_answers_503_and_keeps_readiness(serve, database, postgres):
    application = serve(**database, DB_POOL_SIZE="1", DB_MAX_OVERFLOW="1", DB_POOL_TIMEOUT="0.5")
    waiting_for_the_lock = f"SELECT count(*) {OWN_CONNECTIONS.format_map(database)} AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(4) as threads, postgres.locked("notes", database["DB_NAME"]):
        requests = [threads.submit(application.get, "/notes") for _ in range(4)]
        completed = as_completed(requests, timeout=4)
        refused = [next(completed).result(), next(completed).result()]
        ready = application.get("/readyz")
        [(waiting,)] = postgres.execute(waiting_for_the_lock)
    assert ready.status_code == 200
    assert waiting == 2
    assert [answer.status_code for answer in refused] == [503, 503]
    assert sorted(request.result().status_code for request in requests) == [200, 200, 503, 503]


def test_connections_that_died_fail_no_request(application, database, postgres):
    for _ in range(3):
        assert application.get("/notes").status_code == 200
        postgres.execute(f"SELECT pg_terminate_backend(pid) {OWN_CONNECTIONS.format_map(database)}")
    assert [application.get(path).status_code for path in ("/notes", "/readyz", "/") * 3] == [200] * 9


def test_it_outlives_its_database(application, controlled):
    kept = application.post("/notes", json={"text": "kept"}).json()
    controlled.kill()
    try:
        for _ in range(3):
            assert application.get("/livez").status_code == 200
            assert application.get("/readyz").status_code == 503
            assert application.get("/notes").status_code == 503
            assert application.get("/").status_code == 200
            assert application.post("/notes", json={"text": "lost"}).status_code == 503
    finally:
        controlled.start()
    assert [application.get("/readyz").status_code for _ in range(4)] == [200] * 4
    assert application.get("/notes", params={"limit": 1}).json() == [kept]


def test_a_frozen_database_holds_readiness_up_for_seconds_only(application, controlled):
    with controlled.frozen():
        started = time.monotonic()
        assert application.get("/readyz").status_code == 503
        assert time.monotonic() - started < 8
        assert application.get("/livez").status_code == 200
    assert application.get("/readyz").status_code == 200
