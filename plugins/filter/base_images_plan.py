"""The filter `drydock.stack.base_images_plan`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
name: base_images_plan
short_description: Decides which base images are the official ones and which are built from Debian packages
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Decides, for each image, between the official one and its stand-in, from what is in the engine and what was pulled.
  - The tag of a stand-in ends in a hash of what it is built from, so that it is built again only when that changes.
  - Reads the recipes on the controller and nothing else.
positional: _input
options:
  _input:
    description: The official image of each name, such as C(postgres) with C(postgres:17-trixie).
    type: dict
    required: true
  mode:
    description: See C(base_images_mode).
    type: str
    choices: [registry, debian, auto]
    required: true
  recipes:
    description: The folder on the controller with C(build.sh) and one folder for each name.
    type: path
    required: true
  debian:
    description: What Debian has, by name, a mapping of C(tag) (C(%s) stands for the version) and C(suites).
    type: dict
    required: true
  prefix:
    description: What the name of a stand-in starts with.
    type: str
    default: drydock.local/
  revision:
    description: Any text; another one makes other stand-ins.
    type: str
    default: ""
  host:
    description: What C(files/inspect.sh) says about the host, line by line.
    type: list
    elements: str
    default: []
  pulls:
    description: What C(files/pull.sh) says, line by line.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    plan: >-
      {{ {'caddy': 'caddy:2'} | drydock.stack.base_images_plan(mode='auto', recipes=role_path ~ '/files/recipes',
         debian={'caddy': {'tag': '%s', 'suites': {'trixie': '2'}}}, host=['architecture amd64', 'image caddy:2']) }}
"""

RETURN = r"""
_value:
  description: One item for each image.
  type: list
  elements: dict
  contains:
    name: {description: The name of the image., type: str}
    official: {description: The official image., type: str}
    image: {description: The image to use., type: str}
    action: {description: "C(none), C(pull) (ask the registry first) or C(build).", type: str}
    why: {description: The reason., type: str}
    suite: {description: Debian's name for the release that a stand-in is built from., type: str}
    version: {description: The version that the stand-in brings., type: str}
    refusal: {description: Why Debian cannot stand in; empty where it can., type: str}
"""

DEFAULT_SUITE = "trixie"
TAG = re.compile(r"(?P<rest>.*?)(?:-(?P<suite>trixie|bookworm))?")


def parse_debian(name: str, official: str, debian: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return repository, tag, suite and version of the official image; ValueError where Debian has no such thing."""
    repository, _, tag = official.split("@")[0].rpartition("/")[2].partition(":")
    found = TAG.fullmatch(tag)
    suite = (found and found["suite"]) or DEFAULT_SUITE
    version = debian[name]["suites"][suite]
    if not found or found["rest"] != debian[name]["tag"] % version:
        expected = [f"{debian[name]['tag'] % version}-{suite}" for suite, version in debian[name]["suites"].items()]
        raise ValueError(
            f"base_images_{name}_image is {official}, which cannot be built from Debian packages; "
            f"expected the tag {' or '.join(expected)} (without a suite it is {DEFAULT_SUITE}). "
            f"Use one of these, or an official image that the registry has (base_images_mode: registry)."
        )
    return repository, tag, suite, version


def hash_inputs(recipes: Path, name: str, *settings: str) -> str:
    """Return twelve hex digits over the files of the recipe and the settings that go into the image."""
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in [recipes / "build.sh", *sorted(path for path in (recipes / name).rglob("*") if path.is_file())]:
        digest.update(f"\0{path.relative_to(recipes)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def read_lines(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """Sort lines such as `image caddy:2` and `failed caddy:2 no such host` by their first word."""
    facts: dict[str, dict[str, str]] = {}
    for line in lines:
        kind, _, rest = line.strip().partition(" ")
        key, _, value = rest.partition(" ")
        facts.setdefault(kind, {})[key] = value
    return facts


def plan_image(mode: str, official: str, stand_in: str, refusal: str, facts: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the image to use, what has to be done for it, and why: the first rule that holds."""
    present, failed = facts.get("image", {}), facts.get("failed", {})
    if mode == "registry":
        return official, "none", "official, as base_images_mode is registry"
    if mode == "auto" and official in present:
        return official, "none", "official, present in the engine"
    if stand_in in present:
        return stand_in, "none", "stand-in, present in the engine"
    if mode == "auto" and official in facts.get("pulled", {}):
        return official, "none", "official, pulled from the registry"
    if mode == "debian":
        return stand_in, "build", "as base_images_mode is debian"
    if official in failed:
        return stand_in, "build", f"as the registry does not give the official one: {failed[official]}"
    return (official if refusal else stand_in), "pull", "neither image is in the engine: the official one if the registry has it"


def base_images_plan(
    wanted: Mapping[str, str],
    mode: str,
    recipes: str,
    debian: Mapping[str, Any],
    prefix: str = "drydock.local/",
    revision: str = "",
    host: Iterable[str] = (),
    pulls: Iterable[str] = (),
) -> list[dict[str, str]]:
    facts = read_lines([*host, *pulls])
    architecture = next(iter(facts.get("architecture", {})), "")
    plan = []
    for name, official in wanted.items():
        stand_in = suite = version = refusal = ""
        try:
            repository, tag, suite, version = parse_debian(name, official, debian)
        except ValueError as error:
            refusal = str(error)
        else:
            digest = hash_inputs(Path(recipes), name, official, suite, version, architecture, revision)
            stand_in = f"{prefix}{repository}:{tag}-{digest}"
        image, action, why = plan_image(mode, official, stand_in, refusal, facts)
        plan.append(
            {
                "name": name,
                "official": official,
                "image": image,
                "action": action,
                "why": why,
                "suite": suite,
                "version": version,
                "refusal": refusal,
            }
        )
    return plan


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"base_images_plan": base_images_plan}
