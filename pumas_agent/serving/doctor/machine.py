"""The limits of the machine against what is needed, the process itself, its clock and what it is built from."""

import os
import re
import resource
import sqlite3
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from pumas_agent import __version__
from pumas_agent.contracts.doctor import Check, CheckName
from pumas_agent.serving.doctor.library import newest_update
from pumas_agent.serving.doctor.patient import Patient, fail, ok, warn

INOTIFY = Path("/proc/sys/fs/inotify")
PROCESSES = Path("/proc")
_FULL = 0.8
_LEAST_FILES = 256
"""64 connections, the index, the watching and the processes that judge take about half of it."""
_MOST_MEMORY = 512 << 20
_SKEW_S = 300.0
_FIRST_YEAR = 2026
"""No record of this program is older."""
_LEAST_PYTHON = (3, 11)


def check_watches(patient: Patient) -> list[Check]:
    """What inotify gives a user, and what this user takes of it."""
    if patient.agent is not None and patient.agent.unwatched:
        name, why = next(iter(sorted(patient.agent.unwatched.items())))
        evidence = f"{len(patient.agent.unwatched)} roots cannot be watched, the first is {name}: {why}"
        fix = (
            _raise_watches(_limit("max_user_watches") or 0)
            if patient.agent.limit_reached
            else "let the agent read them"
        )
        return [fail(CheckName.WATCHES, evidence, fix)]
    watches, instances = _limit("max_user_watches"), _limit("max_user_instances")
    if watches is None or instances is None:
        return [ok(CheckName.WATCHES, "this system has no inotify")]
    taken, instances_taken = inotify_use()
    own = patient.agent.cover.watches if patient.agent is not None else None
    needed = own if own is not None else count_folders([str(patient.root), *patient.roots.values()], watches)
    total = max(taken, needed) if own is not None else taken + needed
    said = f"{needed} watches {'in use' if own is not None else 'needed'}, {taken} of this user, of {watches}"
    found = [ok(CheckName.WATCHES, said)]
    if total >= watches * _FULL:
        found = [warn(CheckName.WATCHES, said, _raise_watches(watches))]
    if instances_taken >= instances * _FULL:
        evidence = f"{instances_taken} inotify instances of this user, of {instances}"
        fix = f"`sudo sysctl fs.inotify.max_user_instances={instances * 4}` (and in /etc/sysctl.d, to last)"
        found.append(warn(CheckName.WATCHES, evidence, fix))
    return found


def _raise_watches(limit: int) -> str:
    return f"`sudo sysctl fs.inotify.max_user_watches={max(limit * 4, 524_288)}` (and in /etc/sysctl.d, to last)"


def _limit(name: str) -> int | None:
    try:
        return int((INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None


def inotify_use() -> tuple[int, int]:
    """Watches and instances of this user's processes, as far as they may be looked at."""
    watches = instances = 0
    for process in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # ended, or of another user
            if process.stat().st_uid != os.geteuid():
                continue
            for descriptor in os.scandir(process / "fd"):
                with suppress(OSError):
                    if os.readlink(descriptor.path) == "anon_inode:inotify":  # noqa: PTH115 - thousands of them
                        instances += 1
                        watches += (process / "fdinfo" / descriptor.name).read_bytes().count(b"inotify wd:")
    return watches, instances


def count_folders(roots: Iterable[str], most: int) -> int:
    """Folders below some roots: each needs a watch. Ends at `most`."""
    count = 0
    for root in roots:
        for _ in os.walk(root):
            count += 1
            if count >= most:
                return count
    return count


def check_open_files(patient: Patient) -> list[Check]:
    """The limit of open files, and how many are open."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fix = "LimitNOFILE=4096 in the unit, or `ulimit -n 4096` before the start"
    if limit == resource.RLIM_INFINITY:
        return [ok(CheckName.OPEN_FILES, "no limit")]
    is_open = psutil.Process().num_fds()
    evidence = f"{is_open} open of {limit} (at most {hard if hard != resource.RLIM_INFINITY else 'any number'})"
    if patient.agent is not None and is_open >= limit * _FULL:
        return [fail(CheckName.OPEN_FILES, evidence, fix)]
    if limit < _LEAST_FILES:
        return [warn(CheckName.OPEN_FILES, f"{evidence}; an agent may need {_LEAST_FILES}", fix)]
    return [ok(CheckName.OPEN_FILES, evidence)]


def check_memory(patient: Patient) -> list[Check]:
    """What the agent holds."""
    if patient.agent is None:
        return [ok(CheckName.MEMORY, "no agent runs")]
    held = psutil.Process().memory_info().rss
    evidence = f"{held / 2**20:.0f} MiB resident, {psutil.virtual_memory().available / 2**20:.0f} MiB available"
    if held > _MOST_MEMORY:
        return [warn(CheckName.MEMORY, evidence, "restart the agent, and tell its authors: it should hold less")]
    return [ok(CheckName.MEMORY, evidence)]


def check_clock(patient: Patient) -> list[Check]:
    """Now is after the newest thing that was ever written down."""
    now = datetime.now(UTC)
    fix = "set the clock: `timedatectl`, `sudo timedatectl set-ntp true`"
    if now.year < _FIRST_YEAR:
        return [fail(CheckName.CLOCK, f"it says {now:%Y-%m-%d}, which is in the past", fix)]
    newest = newest_update(patient)
    with suppress(ValueError, TypeError):
        ahead = (_moment(newest) - now).total_seconds() if newest else 0.0
        if ahead > _SKEW_S:
            evidence = f"it says {now:%Y-%m-%d %H:%M:%S} UTC, and the newest record is of {newest}"
            return [warn(CheckName.CLOCK, evidence, fix)]
    return [ok(CheckName.CLOCK, f"{now:%Y-%m-%d %H:%M:%S} UTC, after every record")]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_versions(_patient: Patient) -> list[Check]:
    """Python, SQLite and the packages this is built on."""
    fix = "`pip install --upgrade pumas-agent` into a Python of 3.11 or later"
    found: list[Check] = []
    if sys.version_info < _LEAST_PYTHON:
        found.append(fail(CheckName.VERSIONS, f"Python {sys.version.split()[0]}", fix))
    try:
        needed = [line for line in requires("pumas-agent") or () if ";" not in line]
    except PackageNotFoundError:
        needed = []
    have: list[str] = []
    for line in needed:
        name = re.split(r"[<>=!~ \[]", line, maxsplit=1)[0]
        try:
            here = version(name)
        except PackageNotFoundError:
            found.append(fail(CheckName.VERSIONS, f"{name} is not installed", fix))
            continue
        have.append(f"{name} {here}")
        if not satisfies(here, line):
            found.append(warn(CheckName.VERSIONS, f"{name} {here} is here, and {line} is asked for", fix))
    with sqlite3.connect(":memory:") as connection:
        options = {option for (option,) in connection.execute("PRAGMA compile_options")}
    connection.close()
    if "ENABLE_FTS5" not in options:
        found.append(fail(CheckName.VERSIONS, f"SQLite {sqlite3.sqlite_version} has no FTS5: nothing is found", fix))
    python = ".".join(map(str, sys.version_info[:3]))
    said = f"pumas-agent {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}, {', '.join(have)}"
    return found or [ok(CheckName.VERSIONS, said)]


def satisfies(here: str, asked: str) -> bool:
    """Whether a version is at least, and below, what a requirement says; other conditions are not looked at."""
    bounds = re.findall(r"(>=|<)([0-9.]+)", asked)
    return all((_numbers(here) >= _numbers(bound)) is (sign == ">=") for sign, bound in bounds)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = re.match(r"[0-9.]*", text)
    parts = [int(part) for part in (numbers[0] if numbers else "").split(".") if part]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def check_unit(patient: Patient) -> list[Check]:
    """Of an agent that systemd started: whether its unit takes away what the agent does not need."""
    if patient.agent is None or os.environ.get("SYSTEMD_EXEC_PID") != str(os.getpid()):
        return [ok(CheckName.UNIT, "not started by systemd")]
    facts = dict(re.findall(r"^(\w+):\t(.*)$", Path("/proc/self/status").read_text(), re.MULTILINE))
    lacking = [
        line
        for line, holds in {
            "NoNewPrivileges=yes": facts.get("NoNewPrivs") == "1",
            "SystemCallFilter=@system-service": facts.get("Seccomp") == "2",
        }.items()
        if not holds
    ]
    if os.geteuid() == 0:
        lacking.append("User= of the library's owner")
    if lacking:
        fix = "`systemctl --user edit pumas-agent`, or install the unit that comes with pumas-agent"
        return [warn(CheckName.UNIT, f"the unit lacks {', '.join(lacking)}", fix)]
    return [ok(CheckName.UNIT, f"hardened; up for {time.time() - psutil.Process().create_time():.0f} s")]
