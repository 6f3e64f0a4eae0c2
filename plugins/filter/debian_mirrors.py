"""The filter `drydock.stack.debian_mirrors`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: debian_mirrors
short_description: Finds Debian's mirrors in apt's own configuration
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Reads what C(apt-get indextargets) says with the format
    C($(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI) $(SOURCESENTRY) $(ORIGIN)), and returns the sources that offer the
    component C(main) of one suite of Debian.
  - Other archives use Debian's suite names too. apt knows the origin of an archive once it has fetched its index; where any
    source is known to be Debian's, those of unknown origin are left out.
  - apt leaves out what it has not fetched, unless it is called with C(--no-release-info), which leaves out the origin. So the
    output of both calls is wanted, one after the other.
  - Fails on a line that is not in that format, as it would otherwise pass for a host without mirrors.
positional: _input, suite
options:
  _input:
    description: The output of both calls.
    type: str
    required: true
  suite:
    description: The suite, by its code name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the mirror
  ansible.builtin.debug:
    msg: "{{ (targets.stdout | drydock.stack.debian_mirrors('bookworm') | first).uri }}"
"""

RETURN = r"""
_value:
  description: For each source its address (C(uri)) and the file that holds it (C(file)), without repetition.
  type: list
  elements: dict
"""

# What apt prints for a field that it does not know.
UNKNOWN = "$(ORIGIN)"
FORMAT = "$(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI) $(SOURCESENTRY) $(ORIGIN)"
# The address of a disc and the name of an origin hold spaces.
LINE = re.compile(
    r"(?P<release>\S*) (?P<codename>\S*) (?P<component>\S*) (?P<uri>[a-z][^ :]*:.*) (?P<file>/.*):\d+ (?P<origin>.*)"
)


def parse(line: str) -> dict[str, str]:
    """Return the fields of a line; AnsibleFilterError where it is not in the format."""
    found = LINE.fullmatch(line)
    if not found:
        raise AnsibleFilterError(
            f"debian_mirrors was given the line {line!r}; expected the format {FORMAT!r}. "
            f"Give it the output of apt-get indextargets --format '{FORMAT}' and nothing else."
        )
    return found.groupdict()


def debian_mirrors(targets: str, suite: str) -> list[dict[str, str]]:
    found: dict[tuple[str, str], bool] = {}
    for target in [parse(line) for line in targets.splitlines() if line.strip()]:
        of_suite = suite in (target["release"], target["codename"]) and target["component"] == "main"
        if of_suite and target["origin"] in ("Debian", UNKNOWN):
            source = target["uri"], target["file"]
            found[source] = found.get(source, False) or target["origin"] == "Debian"
    certain = any(found.values())
    return [{"uri": uri, "file": file} for (uri, file), known in found.items() if known or not certain]


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"debian_mirrors": debian_mirrors}
