#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Migrate the database of a stack with the image of a new release
version_added: "0.1.0"
description:
  - Runs one command in a container of its own, of the new image and with the new settings, while the old release serves.
  - Holds an advisory lock of the database meanwhile, so that two migrations never run side by side, and ends the command when
    its time is over.
  - Where another role than the application's migrates, fastapi_database_migrator_user, its login is given to the command alone
    and kept nowhere.
options:
  migrator_user:
    description: Role that migrates a database elsewhere, "" for the application's own; the action plugin sets all of these.
    type: str
    default: ""
  migrator_password:
    description: Its password.
    type: str
    default: ""
  migrator_variables:
    description: What is no secret of what the command is given in place of the application's, by the names of variables.
    type: dict
    default: {}
  migrator_secrets:
    description: What is secret of it.
    type: dict
    default: {}
  secrets_as_files:
    description: Whether the application, and so the command, has its secrets as files.
    type: bool
    default: false
  first:
    description: Whether the database is new, so that there is nothing to dump.
    type: bool
    default: false
  timeout:
    description: Seconds that the command may take.
    type: float
    required: true
  backup:
    description: Whether the database is dumped before, into C(backups) of the stack's folder.
    type: bool
    default: true
  keep:
    description: How many such dumps stay.
    type: int
    default: 5
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.plan
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the database's schema is the release's
  drydock.stack.migrate:
    name: shop
    root: /opt/shop
    plan: "{{ plan }}"
    timeout: 600
    token: "{{ lock.token }}"
"""

RETURN = r"""
before:
  description: Revision of Alembic that the database was at, or "".
  returned: always
  type: str
after:
  description: Revision of Alembic that the database is at, or "".
  returned: always
  type: str
dump:
  description: Name of the dump that was made before, or "".
  returned: always
  type: str
output:
  description: What the command said, its last lines, with the secrets of the stack hidden.
  returned: always
  type: list
  elements: str
"""

import contextlib
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    arguments,
    docker_cli,
    dumps,
    engine,
    hiding,
    lock,
    postgres,
    volumes,
)
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    APP_UID,
    SECRETS_IN_CONTAINER,
    write_durably,
)

LINES = 40
# The files with the login of who migrates, in memory alone.
LOGIN = Path("/run")
MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"


def check_login(login):
    """See that the database elsewhere takes the role that migrates, which may make tables; raises DatabaseError."""
    told = f"fastapi_database_migrator_user is {login.external['user']}, and the database on {login.external['host']}"
    try:
        [may_create] = postgres.query(login, MAY_CREATE)
    except postgres.DatabaseError as error:
        raise postgres.DatabaseError(f"{told} does not take it: {error}") from error
    if may_create != "t":
        raise postgres.DatabaseError(
            f'{told} lets it make no tables; have its owner run GRANT CREATE ON SCHEMA public TO "{login.external["user"]}"'
        )


@contextlib.contextmanager
def login_of(options, container):
    """Yield the variables of who migrates, and the words with which Compose gives them to the command."""
    given, words, folder = dict(options["migrator_variables"]), [], LOGIN / f"drydock-{container}"
    # One that a run which was killed left behind.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if options["secrets_as_files"] and options["migrator_secrets"]:
            folder.mkdir(mode=0o700)
            for name, value in options["migrator_secrets"].items():
                write_durably(folder / name, value.encode(), 0o400, APP_UID)
                # In the place of the application's, which Compose leaves out then.
                words += ["--volume", f"{folder / name}:{SECRETS_IN_CONTAINER}/{name}:ro"]
        else:
            given |= options["migrator_secrets"]
        # Their values are in no command line.
        yield given, [*words, *(word for name in given for word in ("--env", name))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_command(container, plan, timeout, given, words):
    """Run the command of the plan; return its exit code, None where its time was over, and what it said."""
    # One that a host which lost its power left behind.
    docker_cli.docker("rm", container, check=False)
    command = [
        engine.which("docker") or "docker", "compose", "--progress", "quiet", "--project-directory", plan["folder"],
        "run", "--rm", "--no-deps", "--no-TTY", "--name", container, *words, f"app-{plan['slot']}", *plan["migrate"],
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**engine.environment(), **given},
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            docker_cli.docker("rm", "--force", container, check=False)
            process.kill()
            said, _ = process.communicate()
            return None, said
    return process.returncode, said


def dump(database, plan, keep):
    """Dump the database before a migration, remove the oldest such dumps, and return the new one's name."""
    root = database.root
    user = "" if database.external else volumes.owner(root, database.stack)
    settings = {"name": database.stack, "user": user, "keep_before": keep, "elsewhere": database.external}
    made = dumps.make(settings, root, before=plan["id"])["name"]
    dumps.prune(settings, root, dumps.read_json(root / "backups" / dumps.STATE).get("checks", {}))
    return made


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            **arguments.PLAN,
            "first": {"type": "bool", "default": False},
            "timeout": {"type": "float", "required": True},
            "backup": {"type": "bool", "default": True},
            "keep": {"type": "int", "default": 5},
            "migrator_user": {"type": "str", "default": ""},
            "migrator_password": {"type": "str", "default": "", "no_log": True},
            "migrator_variables": {"type": "dict", "default": {}},
            "migrator_secrets": {"type": "dict", "default": {}, "no_log": True},
            "secrets_as_files": {"type": "bool", "default": False},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    name, root, plan = (module.params[key] for key in ("name", "root", "plan"))
    root, told, container = Path(root), {"dump": "", "output": []}, f"{name}-migrate"
    timeout, secret = module.params["timeout"], module.params["migrator_password"]
    alembic = plan["migrate"] == postgres.ALEMBIC
    database = login = postgres.Database(name, root, plan["database"])
    if module.params["migrator_user"]:
        login = postgres.Database(name, root, {**plan["database"], "user": module.params["migrator_user"]}, secret=secret)
    told["before"] = told["after"] = postgres.revision(login)
    if module.check_mode:
        module.exit_json(changed=True, **told)
    try:
        lock.check(root, module.params["token"])
        if login is not database:
            check_login(login)
        # Whoever dumps the database holds locks that a migration would wait for, with all requests behind it.
        with dumps.alone(root, "A migration", timeout):
            if module.params["backup"] and not module.params["first"]:
                told["dump"] = dump(database, plan, module.params["keep"])
            with postgres.advisory_lock(database, timeout), login_of(module.params, container) as (given, words):
                code, said = run_command(container, plan, timeout, given, words)
    except lock.LockLostError as error:
        module.fail_json(msg=str(error), **told)
    except (postgres.DatabaseError, dumps.DataError, OSError) as error:
        module.fail_json(msg=f"The database could not be made ready to be migrated: {error}", **told)
    hide = hiding.hider(root, [secret, *module.params["migrator_secrets"].values()])
    told["output"] = hide(said).splitlines()[-LINES:]
    told["after"] = postgres.revision(login)
    if code != 0:
        how = f"ended with {code}" if code is not None else f"took more than {timeout:g} s"
        left = (
            "as it was" if told["after"] == told["before"] else f"at {told['after']}, it was at {told['before'] or 'none'} before"
        )
        module.fail_json(msg=f"{' '.join(plan['migrate'])} {how}; the database's revision is {left}.", **told)
    if login is not database and postgres.revision(database) != told["after"]:
        module.fail_json(
            msg=f"The role {plan['database']['user']} cannot read the database's revision, {told['after']}, without which nobody "
            f"knows what is to be migrated; have {login.external['user']} run GRANT SELECT ON alembic_version TO "
            f'"{plan["database"]["user"]}"',
            **told,
        )
    module.exit_json(changed=not alembic or told["before"] != told["after"], **told)


if __name__ == "__main__":
    main()
