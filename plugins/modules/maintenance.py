#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Close the front door of a stack for maintenance, or open it
version_added: "0.1.0"
description:
  - Closed, the front door answers 503 with a page and C(Retry-After) to every request but those that send the stack's secret in
    the header C(X-Maintenance-Bypass). It takes effect with the next request; those in flight finish.
  - The secret is made on the host once, and stays there. It is kept in C(secrets/maintenance_bypass) and is never returned.
  - Sees that the door is closed, and opens it again where the front door's settings do not know of maintenance.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  root:
    description: Folder of the stack.
    type: path
    required: true
  enabled:
    description: Whether the front door is to be closed.
    type: bool
    default: true
  page:
    description: HTML file on the controller that is shown; the role's own, C(files/maintenance.html), where it is "".
    type: str
    default: ""
  retry_after:
    description: Seconds after which clients are told to come back.
    type: int
    default: 300
  meanwhile:
    description: Whether the run that closes it opens it again itself; the next one does, should this one be cut off.
    type: bool
    default: false
  content:
    description: What is in the page; set by the controller's part of this module.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.attributes.shows
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Close the front door
  drydock.stack.maintenance:
    name: shop
    root: /opt/shop
    page: ../shop/maintenance.html
    retry_after: 600

- name: Open it
  drydock.stack.maintenance:
    name: shop
    root: /opt/shop
    enabled: false
"""

RETURN = r"""
status:
  description: What the front door answers to the readiness path, without the secret; 0 where it was not asked, or is silent.
  returned: always
  type: int
url:
  description: Where it was asked, "" where no release serves.
  returned: always
  type: str
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import maintenance
from ansible_collections.drydock.stack.plugins.module_utils.asking import SHOWN, Probe
from ansible_collections.drydock.stack.plugins.module_utils.release import recorded

# Seconds that a front door may take to answer, and to see a file that has just been made.
ANSWER_TIMEOUT = 5
PAUSE = 0.1


def closed(probe, page):
    """Return the status that a stranger gets, and whether it comes with the page; a silent front door is closed as well."""
    end = time.monotonic() + ANSWER_TIMEOUT
    start = page[:SHOWN].decode("utf-8", "replace")
    while True:
        status, _, said = probe.once(ANSWER_TIMEOUT)
        if status == 0 or (status == 503 and said == start):
            return status, True
        if time.monotonic() > end:
            return status, False
        time.sleep(PAUSE)


def shut(module, root, probe):
    """Close the front door and return what has changed, and the answer; raises ValueError with what the operator is to do."""
    page, retry_after, meanwhile = (module.params[key] for key in ("content", "retry_after", "meanwhile"))
    page = page.encode()
    if not (root / "current").exists():
        raise ValueError(f"No release of {module.params['name']} serves in {root}, so that there is no front door; deploy one.")
    changes = maintenance.lacking(root, page, retry_after, meanwhile)
    if module.check_mode:
        return changes, 0
    if changes:
        maintenance.close(root, page, retry_after, meanwhile)
    status, is_closed = closed(probe, page) if probe else (0, True)
    if not is_closed:
        if "closed" in changes:
            maintenance.open_up(root)
        raise ValueError(
            f"The front door answers {status} instead of 503 with the page: its settings do not know of maintenance. Deploy "
            "once, so that it gets those of this version, or take what they lack into fastapi_templates; then run the same again."
        )
    return changes, status


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "enabled": {"type": "bool", "default": True},
            "page": {"type": "str", "default": ""},
            "retry_after": {"type": "int", "default": 300},
            "meanwhile": {"type": "bool", "default": False},
            "content": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    options = recorded(root / "current").get("probe")
    probe = Probe(options) if options else None
    before, status = maintenance.page(root), 0
    try:
        if module.params["enabled"]:
            changes, status = shut(module, root, probe)
        else:
            changes = ["closed"] if maintenance.flag(root).exists() else []
            if changes and not module.check_mode:
                maintenance.open_up(root)
            if probe and not module.check_mode:
                status = probe.once(ANSWER_TIMEOUT)[0]
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be read or written: {error.strerror}; use `become: true`.")
    diff = []
    if "page" in changes:
        header = str(root / "proxy" / "maintenance" / "index.html")
        diff.append(
            {
                "before_header": header,
                "after_header": header,
                "before": before.decode("utf-8", "replace"),
                "after": module.params["content"],
            }
        )
    if "closed" in changes:
        words = ("open\n", "closed\n") if module.params["enabled"] else ("closed\n", "open\n")
        diff.append({"before_header": "front door", "after_header": "front door", "before": words[0], "after": words[1]})
    module.exit_json(changed=bool(changes), status=status, url=probe.url if probe else "", diff=diff)


if __name__ == "__main__":
    main()
