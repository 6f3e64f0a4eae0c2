"""A deploy with nothing to do, and the way of an edited line to where it is live, on this machine."""

from __future__ import annotations

import json
import threading
import time
import urllib.error

import lab

PORT, THEIR_PORT = 8911, 8912
THEIRS = "drydock-bench-naive"


class Client:
    """Asks an address all the time; knows how many requests failed, and when it first got another answer than before."""

    def __init__(self, url: str) -> None:
        self.url, self.asked, self.failed, self.changed = url, 0, 0, None
        self.first = lab.answer(url)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def __enter__(self) -> Client:
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.over.set()
        self.thread.join()

    def ask(self) -> None:
        while not self.over.wait(0.02):
            self.asked += 1
            try:
                said = lab.answer(self.url)
            except (OSError, urllib.error.URLError):
                self.failed += 1
                continue
            if said != self.first and self.changed is None:
                self.changed = time.monotonic() - self.began


def live(url: str, playbook: list, source, failed: list[int]):
    def once(number: int) -> float:
        lab.edit(source, number)
        main = source / "main.py"
        # The answer tells which code it is from.
        text = [line for line in main.read_text().splitlines() if not line.startswith("app.version =")]
        main.write_text("\n".join([*text, f'app.version = "{time.time_ns()}"']) + "\n")
        with Client(url) as client:
            lab.play(*playbook)
            lab.wait_for(lambda: client.changed)
        failed.append(client.failed)
        return client.changed

    return once


def measure():
    sources = lab.clean_source("live-ours"), lab.clean_source("live-theirs")
    playbooks = lab.ours(sources[0], PORT), lab.role_naive(sources[1], THEIR_PORT, THEIRS)
    counts = lab.WORK / "counts.json"
    try:
        for playbook in playbooks:
            lab.play(*playbook)
        nothing = lab.pairs(lambda number: lab.play(*playbooks[0]), lambda number: lab.play(*playbooks[1]))
        lab.play(*playbooks[0], count=counts)
        failed: tuple[list[int], list[int]] = ([], [])
        paths = [f"http://127.0.0.1:{port}/openapi.json" for port in (PORT, THEIR_PORT)]
        edits = lab.pairs(*(live(*parts) for parts in zip(paths, playbooks, sources, failed, strict=True)))
    finally:
        lab.drop_ours()
        lab.drop_role_naive(THEIRS)
    told = json.loads(counts.read_text())
    (host,) = told["hosts"].values()
    modules = ", ".join(f"{name.rpartition('.')[2]} {number}" for name, number in told["modules"].items())
    rows = [
        lab.median("nothing changed, one host", nothing[0], 2.5, unit="s"),
        lab.ratio("nothing changed, against role-naive", *nothing, 10, of="s"),
        lab.row("modules of a run with nothing to do", sum(told["modules"].values()), 6, unit="modules", note=modules),
        lab.row("changed tasks of a run with nothing to do", host["changed"], 0, unit="tasks"),
        lab.median("one-line edit to live", edits[0], 8, unit="s"),
        lab.ratio("one-line edit to live, against role-naive", *edits, 5, of="s"),
        lab.row("requests that failed meanwhile", sum(failed[0]), 0, unit="requests", note=f"{sum(failed[1])} with role-naive"),
    ]
    return rows, [
        lab.chart("Nothing changed, one host", "s", **{"ours": nothing[0], "role-naive": nothing[1]}),
        lab.chart("One-line edit to live", "s", **{"ours": edits[0], "role-naive": edits[1]}),
    ]
