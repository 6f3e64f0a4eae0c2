"""What each worker of the application spends on its imports."""

from __future__ import annotations

import lab
from figures import images

IMPORT = "import time, main; print(time.process_time())"


def measure():
    tag = images.ours("slim", lab.clean_source("imports"))

    def imported(*options: str):
        return lambda number: float(lab.docker("run", "--rm", "--network=none", *options, tag, "python", "-c", IMPORT))

    # With its bytecode looked for where there is none, the same image compiles all that it imports.
    found = lab.pairs(imported(), imported("--env=PYTHONPYCACHEPREFIX=/tmp/none"))
    shares = [own / other for own, other in zip(*found, strict=True)]
    what = "import cost of a worker, against the same image without bytecode"
    rows = [{**lab.median(what, shares, 0.35, unit="of the CPU time"), "samples": {"ours": found[0], "theirs": found[1]}}]
    return rows, [lab.chart("Import of the application", "s of CPU", **{"with bytecode": found[0], "without": found[1]})]
