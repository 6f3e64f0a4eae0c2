"""The bytes of an image, and of what a host lacks of it after one line has changed."""

from __future__ import annotations

from pathlib import Path

import lab
import product

MEGABYTE = 10**6


def ours(variant: str, source: Path) -> str:
    tag = f"{lab.NAME}:{variant}"
    folder = lab.WORK / "releases" / variant
    settings = {"fastapi_source": str(source), "fastapi_image_variant": variant, "fastapi_python_image": lab.images()["python"]}
    lab.build(tag, product.release(folder, **settings))
    return tag


def plain(base: str, source: Path) -> str:
    tag = f"{lab.NAME}:{base}-baseline"
    lab.build(tag, source, lab.BASELINES / "plain/Dockerfile", base=lab.images()["full" if base == "naive" else "python"])
    return tag


def new_bytes(build, source: Path) -> dict[str, int]:
    """Return the bytes of the layers that come with an edit of one line, and of the largest among them."""
    before = set(lab.layers(build(source)))
    lab.edit(source, 0)
    sizes = lab.layer_sizes(build(source))
    new = {digest: size for digest, size in sizes.items() if digest not in before}
    return {"new": sum(new.values()), "code": max(new.values())}


def measure():
    source = lab.clean_source("images")
    sizes = {variant: lab.saved_bytes(ours(variant, source)) for variant in ("slim", "minimal")}
    sizes |= {f"{base} baseline": lab.saved_bytes(plain(base, source)) for base in ("naive", "slim")}
    naive, slim = sizes["naive baseline"]["plain"], sizes["slim baseline"]["plain"]
    mine = new_bytes(lambda source: ours("slim", source), source)
    theirs = new_bytes(lambda source: plain("slim", source), lab.clean_source("images"))
    rows = [
        lab.row("image, slim variant, against naive", sizes["slim"]["plain"] / naive, 0.20, unit="of the bytes"),
        lab.row("image, slim variant, against slim", sizes["slim"]["plain"] / slim, 0.80, unit="of the bytes"),
        lab.row("image, minimal variant, against naive", sizes["minimal"]["plain"] / naive, 0.20, unit="of the bytes"),
        lab.row("image, minimal variant, against slim", sizes["minimal"]["plain"] / slim, 0.80, unit="of the bytes"),
        lab.row("minimal image", sizes["minimal"]["plain"] / MEGABYTE, 130, unit="MB"),
        lab.row("minimal image, compressed", sizes["minimal"]["gzip"] / MEGABYTE, 45, unit="MB"),
        lab.row(
            "new bytes after a one-line edit, beyond the code's layer",
            (mine["new"] - mine["code"]) / MEGABYTE,
            1,
            unit="MB",
            note=f"{mine['new'] / MEGABYTE:.2f} MB in all; {theirs['new'] / MEGABYTE:.1f} MB with the slim baseline",
        ),
    ]
    return rows, [
        lab.chart("Image, as docker save", "MB", **{name: size["plain"] / MEGABYTE for name, size in sizes.items()}),
        lab.chart("Image, compressed by gzip -6", "MB", **{name: size["gzip"] / MEGABYTE for name, size in sizes.items()}),
    ]
