"""The application under test is a real uvicorn with real workers; its database is a real PostgreSQL.

The server comes from TEST_DATABASE_URL (a role that may create databases), else from the binaries of this machine, else
from the container image that TEST_POSTGRES_IMAGE names. Without any of them, the tests that need it are skipped.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

FOLDER = Path(__file__).resolve().parents[1]
PASSWORD = """ p%4 0@:/?#&=+"'\\$ü%(here)s{{ 1 }} """
OWN_VARIABLES = ("DB_", "DATABASE_URL", "PG", "RELEASE", "REVISION", "WEB_CONCURRENCY")


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until the condition holds; not being able to connect counts as no."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (httpx.TransportError, psycopg2.OperationalError):
            pass
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment of the tests, but for what the application reads."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    return inherited | {"PYTHONDONTWRITEBYTECODE": "1"} | variables


class Application(httpx.Client):
    """A client of a uvicorn that it starts itself."""

    def __init__(self, log: Path, **variables: str) -> None:
        port = free_port()
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=15)
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "main:app", "--port", str(port)],
                cwd=FOLDER,
                env=clean_environment(**variables),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        self.close()
        self._process.terminate()
        self._process.wait(15)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Application]]:
    """Start the application with these variables and wait until it lives; at the end no log may hold a traceback."""
    running = []

    def start(**variables: str) -> Application:
        application = Application(tmp_path_factory.mktemp("application") / "log", **variables)
        running.append(application)
        eventually(lambda: application.get("/livez").status_code == 200)
        return application

    yield start
    for application in running:
        application.stop()
    assert [application.log() for application in running if "Traceback" in application.log()] == []


@pytest.fixture(scope="session")
def alembic() -> Callable[..., subprocess.CompletedProcess]:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=FOLDER,
            env=clean_environment(**variables),
            capture_output=True,
            text=True,
        )

    return run


class GivenServer:
    """The server of TEST_DATABASE_URL: it is not ours to stop."""

    controlled = False

    def __init__(self, url: str) -> None:
        self.dsn = make_dsn(url)

    def create_database(self) -> dict[str, str]:
        """Make an empty database; return the variables under which the application reaches it."""
        name = f"notes_test_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        server = parse_dsn(self.dsn)
        return {
            "DB_HOST": server.get("host", "localhost"),
            "DB_PORT": server.get("port", "5432"),
            "DB_USER": server.get("user", ""),
            "DB_PASSWORD": server.get("password", ""),
            "DB_NAME": name,
        }

    def execute(self, statement: str, database: str | None = None) -> list[tuple]:
        dsn = make_dsn(self.dsn, connect_timeout=2, **({"dbname": database} if database else {}))
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    @contextmanager
    def locked(self, table: str, database: str) -> Iterator[None]:
        """Nobody else reads or writes the table meanwhile."""
        with closing(psycopg2.connect(make_dsn(self.dsn, dbname=database))) as connection:
            connection.cursor().execute(f"LOCK TABLE {table}")
            yield

    def answers(self) -> bool:
        return self.execute("SELECT 1") == [(1,)]


class OwnServer(GivenServer):
    """A server of these tests alone, with a password that is hard to hand over."""

    controlled = True

    def __init__(self) -> None:
        self.port = free_port()
        self.dsn = make_dsn(
            host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, dbname="postgres", connect_timeout=2
        )


class LocalServer(OwnServer):
    def __init__(self, binaries: Path, folder: Path) -> None:
        super().__init__()
        self.binaries = binaries
        self.data = folder / "data"
        # PostgreSQL refuses to run as root.
        self.user = {"user": "nobody", "cwd": folder} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(folder, "nobody")
        password = folder / "password"
        password.write_text(PASSWORD)
        initdb = [binaries / "initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", password]
        subprocess.run([*initdb, "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL, **self.user)

    def start(self) -> None:
        options = ["-D", self.data, "-p", str(self.port), "-c", "unix_socket_directories=", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            [self.binaries / "postgres", *options],
            stdout=subprocess.DEVNULL,
            stderr=(self.data.parent / "log").open("a"),
            **self.user,
        )
        eventually(self.answers)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(15)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class ContainerServer(OwnServer):
    def __init__(self, image: str) -> None:
        super().__init__()
        self.name = f"sample-app-test-{uuid4().hex[:12]}"
        publish = ["--publish", f"127.0.0.1:{self.port}:5432"]
        self.docker("create", "--name", self.name, *publish, "--env", f"POSTGRES_PASSWORD={PASSWORD}", image)

    def docker(self, *arguments: str) -> None:
        subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        self.docker("start", self.name)
        eventually(self.answers, 60)

    def kill(self) -> None:
        self.docker("kill", self.name)

    def remove(self) -> None:
        self.docker("rm", "--force", "--volumes", self.name)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.docker("pause", self.name)
        try:
            yield
        finally:
            self.docker("unpause", self.name)


def postgres_binaries() -> Path | None:
    """The newest of Debian's folders, or the one on the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[GivenServer]:
    with ExitStack() as cleanup:
        if url := os.environ.get("TEST_DATABASE_URL"):
            yield GivenServer(url)
        elif binaries := postgres_binaries():
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            server = LocalServer(binaries, folder)
            server.start()
            cleanup.callback(server.kill)
            yield server
        elif image := os.environ.get("TEST_POSTGRES_IMAGE"):
            server = ContainerServer(image)
            cleanup.callback(server.remove)
            server.start()
            yield server
        else:
            pytest.skip("no PostgreSQL: set TEST_DATABASE_URL or TEST_POSTGRES_IMAGE, or install postgresql")


@pytest.fixture(scope="module")
def new_database(postgres: GivenServer) -> Iterator[Callable[[], dict[str, str]]]:
    created = []

    def create() -> dict[str, str]:
        created.append(postgres.create_database())
        return created[-1]

    yield create
    for variables in created:
        postgres.execute(f"DROP DATABASE {variables['DB_NAME']} WITH (FORCE)")
