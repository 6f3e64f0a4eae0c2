"""The filter base_images_plan (which image, what has to be done for it, and why), and the scripts that it goes with."""

import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.drydock.stack.plugins.filter.base_images_plan import base_images_plan

ROLE = Path(__file__).parents[2] / "roles/base_images"
DEBIAN = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__base_images_debian"]
OFFICIAL = "postgres:17-trixie"


def plan(
    official=OFFICIAL,
    mode="auto",
    host=(),
    name="postgres",
    architecture="amd64",
    recipes=ROLE / "files/recipes",
    **options,
):
    host = [f"architecture {architecture}", *host]
    [image] = base_images_plan({name: official}, mode, str(recipes), DEBIAN, host=host, **options)
    return image


STAND_IN = plan(mode="debian")["image"]


@pytest.fixture
def recipes(tmp_path):
    for path, text in {"build.sh": "common", "postgres/recipe.sh": "server", "caddy/recipe.sh": "proxy"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "host", "pulls", "image", "action"),
    [
        ("registry", [f"image {STAND_IN}"], [], OFFICIAL, "none"),
        ("debian", [f"image {OFFICIAL}"], [], STAND_IN, "build"),
        ("debian", [f"image {OFFICIAL}", f"image {STAND_IN}"], [], STAND_IN, "none"),
        ("auto", [f"image {OFFICIAL}", f"image {STAND_IN}"], [], OFFICIAL, "none"),
        ("auto", [f"image {STAND_IN}"], [], STAND_IN, "none"),
        ("auto", ["image postgres:17-trixie-slim"], [], STAND_IN, "pull"),
        ("auto", [], [f"pulled {OFFICIAL}"], OFFICIAL, "none"),
        ("auto", [], [f"failed {OFFICIAL} no such host"], STAND_IN, "build"),
    ],
)
def test_first_rule_that_holds(mode, host, pulls, image, action):
    found = plan(mode=mode, host=host, pulls=pulls)
    assert (found["image"], found["action"]) == (image, action)


def test_the_registrys_own_words_are_the_reason():
    assert "no such host" in plan(pulls=[f"failed {OFFICIAL} dial tcp: no such host"])["why"]


@pytest.mark.parametrize(
    ("name", "official", "start", "suite", "version"),
    [
        ("postgres", "postgres:17-trixie", "drydock.local/postgres:17-trixie-", "trixie", "17"),
        ("postgres", "postgres:15-bookworm", "drydock.local/postgres:15-bookworm-", "bookworm", "15"),
        ("postgres", "registry.test:5000/team/postgres:17", "drydock.local/postgres:17-", "trixie", "17"),
        ("postgres", f"postgres:17@sha256:{'0' * 64}", "drydock.local/postgres:17-", "trixie", "17"),
        ("python", "python:3.13-slim-trixie", "drydock.local/python:3.13-slim-trixie-", "trixie", "3.13"),
        ("python", "python:3.11-slim-bookworm", "drydock.local/python:3.11-slim-bookworm-", "bookworm", "3.11"),
        ("caddy", "caddy:2", "drydock.local/caddy:2-", "trixie", "2"),
    ],
)
def test_the_official_tag_says_what_is_built(name, official, start, suite, version):
    found = plan(official, "debian", name=name)
    stem, digest = found["image"][: len(start)], found["image"][len(start) :]
    assert (stem, found["suite"], found["version"], found["refusal"]) == (start, suite, version, "")
    assert len(digest) == 12
    assert int(digest, 16) >= 0


@pytest.mark.parametrize(
    ("name", "official", "expected"),
    [
        ("postgres", "postgres:16-trixie", "17-trixie or 15-bookworm"),
        ("postgres", "postgres:17-bookworm", "17-trixie or 15-bookworm"),
        ("postgres", "postgres:17-alpine", "17-trixie or 15-bookworm"),
        ("postgres", "postgres", "17-trixie or 15-bookworm"),
        ("python", "python:3.12-slim-trixie", "3.13-slim-trixie or 3.11-slim-bookworm"),
        ("python", "python:3.13-trixie", "3.13-slim-trixie or 3.11-slim-bookworm"),
        ("caddy", "caddy:2.10", "2-trixie or 2-bookworm"),
    ],
)
def test_what_debian_does_not_have_is_refused(name, official, expected):
    refusal = plan(official, "debian", name=name)["refusal"]
    assert refusal.startswith(f"base_images_{name}_image is {official},")
    assert f"expected the tag {expected} (without a suite it is trixie)." in refusal


def test_the_registry_may_still_have_what_debian_does_not():
    found = plan("postgres:16-trixie")
    assert (found["image"], found["action"]) == ("postgres:16-trixie", "pull")


@pytest.mark.parametrize("path", ["build.sh", "postgres/recipe.sh", "postgres/new-file"])
def test_a_changed_recipe_is_another_image(recipes, path):
    before = plan(mode="debian", recipes=recipes)["image"]
    (recipes / path).write_text("changed")
    assert plan(mode="debian", recipes=recipes)["image"] != before


def test_another_images_recipe_changes_nothing(recipes):
    before = plan(mode="debian", recipes=recipes)["image"]
    (recipes / "caddy/recipe.sh").write_text("changed")
    assert plan(mode="debian", recipes=recipes)["image"] == before


def test_revision_architecture_and_prefix_make_another_image():
    images = {
        STAND_IN,
        plan(mode="debian", revision="2026-11")["image"],
        plan(mode="debian", prefix="lab.test/")["image"],
        plan(mode="debian", architecture="arm64")["image"],
    }
    assert len(images) == 4


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Return a function that runs a script of the role with a docker that has these images, some used by a container."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(
        """#!/bin/sh
[ -n "$IMAGES" ] || { echo 'Cannot connect to the daemon' >&2; exit 1; }
case "$1 $2" in
  "image ls") echo "$4" | grep -q ^image && prefix='image '; for image in $IMAGES; do echo "$prefix$image"; done ;;
  "image inspect")
    shift 4; code=0
    for image; do case " $IMAGES $ALIASES " in *" $image "*) echo id ;; *) code=1 ;; esac; done; exit $code ;;
  "ps --all") for image in $USED; do [ "ancestor=$image" != "$5" ] || echo container; done ;;
  "image rm") case " $KEPT " in *" $3 "*) exit 1 ;; esac ;;
esac
"""
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def run(script, *arguments, **lists):
        for name in ("images", "aliases", "used", "kept"):
            monkeypatch.setenv(name.upper(), " ".join(lists.get(name, [])))
        shell = (ROLE / "files" / script).read_text().splitlines()[0].split()[-1].rpartition("/")[2]
        done = subprocess.run([shell, ROLE / "files" / script, *arguments], capture_output=True, check=True, text=True)
        return done.stdout.splitlines()

    return run


def test_the_host_is_described(docker):
    said = docker("inspect.sh", "a:1", "docker.io/b:1", "c:1", images=["a:1", "b:1"], aliases=["docker.io/b:1"])
    assert "engine answers" in said
    assert {line for line in said if line.startswith("image ")} == {"image a:1", "image b:1", "image docker.io/b:1"}
    assert [line.split()[0] for line in docker("inspect.sh", images=["a:1"])].count("image") == 1


def test_an_engine_that_does_not_answer_is_told(docker):
    said = docker("inspect.sh", "a:1")
    assert "no-engine Cannot connect to the daemon" in said
    assert not [line for line in said if line.startswith(("engine", "image"))]


def test_only_former_stand_ins_that_nobody_uses_are_removed(docker):
    new, former = STAND_IN, f"{STAND_IN[:-12]}{'0' * 12}"
    others = [
        OFFICIAL,
        f"{STAND_IN[:-12]}mine",
        f"{STAND_IN[:-12]}{'0' * 13}",
        former.replace("17-", "17-x-"),
        former.replace("/p", "/x"),
    ]
    images = [new, former, *others]
    assert docker("remove_former.sh", new, images=images) == [f"removed {former}"]
    assert docker("remove_former.sh", new, images=images, used=[former]) == []
    assert docker("remove_former.sh", new, images=images, kept=[former]) == []
    assert docker("remove_former.sh", new, images=[new]) == []
