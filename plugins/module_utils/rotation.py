# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The change of the database's password while the application serves.

A role has one password, and the live slot goes on opening connections with the old one until its last request is answered. So the
database takes the live slot's address, and no other, without asking for a password meanwhile: by lines at the top of pg_hba.conf
that go at the end. What is under way is told by two files beside the password: the next one before it is the database's, and
the one of before until the old slot is gone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from ansible_collections.drydock.stack.plugins.module_utils import dumps
from ansible_collections.drydock.stack.plugins.module_utils.release import POSTGRES_UID, sync_folder, write_durably

BEGIN, END = "# drydock: rotation of the password", "# drydock: end of the rotation"
ITERATIONS = 4096
ALTER = "SELECT format('ALTER ROLE %I PASSWORD %L', '{role}', '{verifier}') \\gexec"
# As a whole, so that a database that is killed meanwhile finds one that it can read.
REPLACE = 'cd "$PGDATA" && cat > pg_hba.conf.next && sync pg_hba.conf.next && mv pg_hba.conf.next pg_hba.conf'


def current(root: Path) -> Path:
    return root / "secrets" / "database_password"


def following(root: Path) -> Path:
    return root / "secrets" / "database_password.next"


def before(root: Path) -> Path:
    return root / "secrets" / "database_password.before"


def under_way(root: Path) -> bool:
    """Tell whether a rotation was begun and has not ended."""
    return following(root).exists() or before(root).exists()


def verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL keeps of a password of ASCII (RFC 5803), so that the password itself is in no statement."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{told[0]}${told[1]}:{told[2]}"


def rules(text: str, user: str, addresses: Iterable[str]) -> str:
    """Return pg_hba.conf with the lines for the addresses in place of those that are there; none for no addresses."""
    lines, ours = [], False
    for line in text.splitlines():
        ours = line == BEGIN or (ours and line != END)
        if not ours and line != END:
            lines.append(line)
    named = '"{}"'.format(user.replace('"', '""'))
    own = [f"host all {named} {address}/32 trust" for address in addresses]
    return "".join(f"{line}\n" for line in ([BEGIN, *own, END] if own else []) + lines)


def let_in(container: str, role: str, addresses: Iterable[str]) -> None:
    """Have the database take the role from the addresses, and no others, without a password; raises DataError."""
    found = dumps.run(["docker", "exec", container, "sh", "-c", 'cat "$PGDATA/pg_hba.conf"'], "pg_hba.conf cannot be read")
    with dumps.Session(container) as session:
        wanted = rules(found, role, addresses)
        if wanted != found:
            command = ["docker", "exec", "--interactive", container, "sh", "-c", REPLACE]
            dumps.run(command, "pg_hba.conf cannot be written", input=wanted.encode(), stdin=None)
        session.rows("SELECT pg_reload_conf();")
        broken = session.rows("SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL;")
        if broken:
            raise dumps.DataError(f"pg_hba.conf is not taken: {' '.join(broken)}")


def alter(container: str, role: str, password: str) -> None:
    """Make it the role's password in the database; raises DataError."""
    with dumps.Session(container) as session:
        session.rows(ALTER.format(role=role.replace("'", "''"), verifier=verifier(password, secrets.token_bytes(16))))


@contextlib.contextmanager
def superuser(root: Path, container: str, role: str) -> Iterator[tuple[str, str]]:
    """Yield a name and a password with which the superuser is let in over TCP meanwhile; ``role`` is the application's.

    Only a superuser of before, which that role is, has a password for good. Raises DataError.
    """
    with dumps.Session(container) as session:
        name = session.rows("SELECT session_user;")[0]
    if name == role:
        yield name, current(root).read_text()
        return
    password = secrets.token_urlsafe(32)
    alter(container, name, password)
    try:
        yield name, password
    finally:
        # Where it cannot be taken away, it is a password that nobody has.
        with contextlib.suppress(dumps.DataError), dumps.Session(container) as session:
            session.rows(f'ALTER ROLE "{name}" PASSWORD NULL;')


def knows(variables: Iterable[str], password: str) -> bool:
    """Tell whether a container with these variables was given the password, by itself or in a URL."""
    in_url = f":{quote(password, safe='')}@"
    return any(variable.partition("=")[2] == password or in_url in variable for variable in variables)


def begin(root: Path, container: str, role: str, addresses: Iterable[str], given: str | None, serves: Iterable[str] = ()) -> None:
    """Make another password the one of the database and of the host; who is at the addresses need not know it.

    ``serves`` are the variables of the slot that is live.
    """
    write_durably(following(root), (given or secrets.token_urlsafe(32)).encode(), 0o400, POSTGRES_UID)
    let_in(container, role, addresses)
    alter(container, role, following(root).read_text())
    # Of a rotation that was cut off, the one of before is nobody's any longer, unless the slot that serves was made with it.
    if not (before(root).exists() and knows(serves, before(root).read_text())):
        before(root).unlink(missing_ok=True)
        os.link(current(root), before(root))
    following(root).replace(current(root))
    sync_folder(current(root).parent)


def undo(root: Path, container: str, role: str, serves: Iterable[str] = ()) -> None:
    """Make the password of before the one of the database and of the host again, unless the slot that is live has the new one."""
    following(root).unlink(missing_ok=True)
    if before(root).exists() and not knows(serves, current(root).read_text()):
        alter(container, role, before(root).read_text())
        before(root).replace(current(root))
        sync_folder(current(root).parent)
    let_in(container, role, [])
    before(root).unlink(missing_ok=True)


def end(root: Path, container: str, role: str) -> None:
    """Have everybody asked for the password again, and forget the one of before."""
    let_in(container, role, [])
    before(root).unlink(missing_ok=True)
