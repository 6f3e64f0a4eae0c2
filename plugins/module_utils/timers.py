# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What has a host back a stack up by itself: the program, its settings and the timers, of systemd or of cron."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import archive, dumps, engine
from ansible_collections.drydock.stack.plugins.module_utils.release import write_durably

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "timers.target.wants"
CRON = Path("/etc/cron.d")
PYTHON = "/usr/bin/python3"
COMMANDS = {"backup": "schedule", "drill": "drill_schedule"}
# What cron can say of the short forms of systemd's calendar.
SHORT = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
DAYS = {"mon": "1", "tue": "2", "wed": "3", "thu": "4", "fri": "5", "sat": "6", "sun": "0"}
CALENDAR = re.compile(r"(?:(?P<day>\w{3})\w* )?(?:\*-\*-\* )?(?P<hour>[0-9]{1,2}|\*):(?P<minute>[0-9]{2})(?::00)?")


class ScheduleError(Exception):
    """A schedule cannot be kept by the host; the text is for the operator."""


def has_systemd() -> bool:
    """Tell whether systemd runs the host, as sd_booted(3) does."""
    return Path("/run/systemd/system").is_dir()


def programs(root: Path, wanted: Mapping[str, Any]) -> dict[Path, tuple[str, int]]:
    """Return the programs that are put on a host, by path, with their modes: modules of the collection as they stand."""
    wanted_ones = {"data": dumps, **({"archive": archive} if wanted.get("pitr") else {})}
    return {root / "bin" / name: (inspect.getsource(module), 0o755) for name, module in wanted_ones.items()}


def escaped(argument: str) -> str:
    """Return an argument as ExecStart= takes it: quoted, with nothing in it that systemd would replace."""
    return '"{}"'.format(argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$"))


def units(root: Path, wanted: Mapping[str, Any]) -> dict[Path, str]:
    """Return the units of systemd by their path, those of the timers that are switched off left out."""
    found = {}
    for command, option in COMMANDS.items():
        if not wanted[option]:
            continue
        name = f"drydock-{wanted['name']}-{command}"
        run = f"{PYTHON} -I {escaped(str(root / 'bin' / 'data'))}"
        what = "Back up the database" if command == "backup" else "Prove a backup of the database by restoring it"
        found[UNITS / f"{name}.service"] = (
            f"[Unit]\nDescription={what} of the stack {wanted['name']}\nAfter=docker.service\n\n"
            f"[Service]\nType=oneshot\nExecStart={run} {command}\nExecStopPost={run} alert\n"
            "TimeoutStartSec=12h\nUMask=0077\nNice=10\nIOSchedulingClass=idle\n"
        )
        # A run that was missed while the host was off is made up for.
        found[UNITS / f"{name}.timer"] = (
            f"[Unit]\nDescription={what} of the stack {wanted['name']}\n\n"
            f"[Timer]\nOnCalendar={wanted[option]}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
        )
    return found


def cron_time(schedule: str) -> str:
    """Return what cron makes of a schedule; raises ScheduleError where it cannot say that."""
    if schedule.lower() in SHORT:
        return SHORT[schedule.lower()]
    match = CALENDAR.fullmatch(schedule)
    day = DAYS.get((match["day"] or "").lower()) if match else None
    if not match or (match["day"] and day is None):
        raise ScheduleError(
            f"{schedule} cannot be kept without systemd; use hourly, daily, weekly, monthly, '*-*-* HH:MM', or 'Sun *-*-* HH:MM'."
        )
    hour = "*" if match["hour"] == "*" else str(int(match["hour"]))
    return f"{int(match['minute'])} {hour} * * {day or '*'}"


def cron_table(root: Path, wanted: Mapping[str, Any]) -> dict[Path, str]:
    """Return the file of cron by its path, {} where no timer is switched on; raises ScheduleError."""
    run = f"{PYTHON} -I {shlex.quote(str(root / 'bin' / 'data'))}".replace("%", "\\%")
    lines = [f"{cron_time(wanted[option])} root {run} {command}\n" for command, option in COMMANDS.items() if wanted[option]]
    return {CRON / f"drydock-{wanted['name']}": "".join(lines)} if lines else {}


def files(root: Path, wanted: Mapping[str, Any], rclone: str) -> dict[Path, tuple[str, int]]:
    """Return all files that are wanted, by path, with their modes."""
    timers = units(root, wanted) if has_systemd() else cron_table(root, wanted)
    return {
        **programs(root, wanted),
        root / dumps.SETTINGS: (json.dumps(wanted, indent=2) + "\n", 0o600),
        **({root / "secrets" / "rclone.conf": (rclone, 0o600)} if rclone else {}),
        **{path: (text, 0o644) for path, text in timers.items()},
    }


def own(name: str) -> list[Path]:
    """Return where the stack's timers may be, theirs or those of another time."""
    found = [UNITS / f"drydock-{name}-{command}.{kind}" for command in COMMANDS for kind in ("service", "timer")]
    return [*found, CRON / f"drydock-{name}"]


def lacking(root: Path, wanted: Mapping[str, Any], rclone: str) -> list[Path]:
    """Return the files that differ from what is wanted, and those that are not wanted."""
    needed = files(root, wanted, rclone)
    differ = [
        path
        for path, (text, mode) in needed.items()
        if not path.is_file() or path.read_bytes() != text.encode() or path.stat().st_mode & 0o777 != mode
    ]
    off = [WANTS / path.name for path in needed if path.suffix == ".timer" and not (WANTS / path.name).exists()]
    others = [root / "secrets" / "rclone.conf", root / "bin" / "archive", *own(wanted["name"])]
    return [*differ, *off, *(path for path in others if path not in needed and path.exists())]


def install(root: Path, wanted: Mapping[str, Any], rclone: str) -> None:
    """Put everything in its place and switch the timers on or off; raises ScheduleError."""
    needed = files(root, wanted, rclone)
    for command, option in COMMANDS.items():
        if wanted[option] and has_systemd():
            code, _, said = engine.run(["systemd-analyze", "calendar", wanted[option]])
            if code:
                raise ScheduleError(
                    f"fastapi_{command}_schedule is {wanted[option]}, which systemd refuses: {said.strip()[-200:]}"
                )
    removed(wanted["name"], but=needed)
    for path in (root / "secrets" / "rclone.conf", root / "bin" / "archive"):
        if path not in needed:
            path.unlink(missing_ok=True)
    (root / "bin").mkdir(mode=0o750, exist_ok=True)
    for path, (text, mode) in needed.items():
        path.parent.mkdir(exist_ok=True)
        write_durably(path, text.encode(), mode)
        path.chmod(mode)
    if has_systemd():
        timers = [path.name for path in needed if path.suffix == ".timer"]
        for arguments in (["daemon-reload"], *([["enable", "--now", *timers], ["restart", *timers]] if timers else [])):
            code, _, said = engine.run(["systemctl", "--quiet", *arguments])
            if code:
                raise ScheduleError(f"systemctl {' '.join(arguments)} failed: {said.strip()[-300:]}")


def removed(name: str, but: Mapping[Path, Any] | None = None) -> list[Path]:
    """Switch the stack's timers off and remove their files, apart from some; return what was there."""
    found = [path for path in own(name) if path.exists() and path not in (but or {})]
    timers = [path.name for path in found if path.suffix == ".timer"]
    if timers and has_systemd():
        engine.run(["systemctl", "--quiet", "disable", "--now", *timers])
    for path in found:
        path.unlink()
    if found and has_systemd():
        engine.run(["systemctl", "--quiet", "daemon-reload"])
    return found
