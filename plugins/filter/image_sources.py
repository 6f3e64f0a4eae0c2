"""The filter `drydock.stack.image_sources`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: image_sources
short_description: Decides which host builds an image, and which hosts have it from there
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Of the hosts that change to the same image on the same platform, the first that has the image is the source of the others;
    where none has it, the first is, and builds it. A host that has the image is its own source. One that runs the image and
    does not change is a source as well.
positional: _input
options:
  _input:
    description: The variables of the hosts of the play, as C(hostvars) has them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Know where the image comes from
  ansible.builtin.set_fact:
    sources: "{{ ansible_play_batch | map('extract', hostvars) | drydock.stack.image_sources }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: By host that changes, the host that its image comes from.
  type: dict
"""


def image_sources(hosts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    groups: dict[tuple[str, str], list[tuple[str, bool, bool]]] = {}
    for host in hosts:
        release = host.get("__fastapi_release")
        # What failed before it was planned has none.
        if not release:
            continue
        changes = not release["converged"]
        has_image = not changes or bool((host.get("__fastapi_installed") or {}).get("has_image"))
        alike = (release["image"], host["__fastapi_host"]["engine"]["platform"])
        groups.setdefault(alike, []).append((host["inventory_hostname"], changes, has_image))
    sources = {}
    for members in groups.values():
        first = next((name for name, _, has_image in members if has_image), members[0][0])
        sources.update({name: name if has_image else first for name, changes, has_image in members if changes})
    return sources


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"image_sources": image_sources}
