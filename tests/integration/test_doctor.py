"""What `doctor` says of a library and its surroundings: each check can fail, and names what mends it."""

import asyncio
import json
import os
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pumas_agent.contracts.doctor import Check, CheckName, CheckState, DoctorReport
from pumas_agent.contracts.health import Alert, AlertCode, Severity
from pumas_agent.demo.bundle import write_stable_diffusion_bundle
from pumas_agent.demo.snapshot import snapshot
from pumas_agent.library import Library, LibraryLock
from pumas_agent.mounts import Mount, Mounts
from pumas_agent.serving.doctor import AgentFacts, Doctor, Patient, agent, examination, library, machine, roots
from pumas_agent.watching import WatchCover

OK, WARN, FAIL = CheckState.OK, CheckState.WARN, CheckState.FAIL
HEALTHY = AgentFacts(
    (), (), WatchCover("inotify", 1, 0, 0.0, 4, 0), {}, limit_reached=False, connections=1, max_connections=64
)


@pytest.fixture
def patient(short_tmp: Path) -> Patient:
    """A library with an index and no agent."""
    Library.open(short_tmp / "library", "command").close()
    return Patient(short_tmp / "library", short_tmp / "agent.sock", poll_interval_s=60, trash_days=30)


def examine(patient: Patient) -> DoctorReport:
    return asyncio.run(Doctor(lambda: patient).examine(lambda *_: None))


def of(report: DoctorReport, name: CheckName) -> list[Check]:
    return [entry for entry in report.checks if entry.check is name]


def put_record(root: Path, model_id: str, text: str = "{}") -> Path:
    path = root / model_id / "metadata.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_every_check_says_something(patient: Patient, short_tmp: Path) -> None:
    """Each at least once, and only the missing agent is complained about; nothing on disk is changed by it."""
    write_stable_diffusion_bundle(short_tmp / "tiny")
    patient = Patient(patient.root, patient.socket, 60, 30, {"diffusion/acme/tiny": str(short_tmp / "tiny")})
    before = snapshot(short_tmp)

    report = examine(patient)

    assert {entry.check for entry in report.checks} == set(CheckName)
    wrong = {entry.check for entry in report.checks if entry.state is not OK} - {
        CheckName.WATCHES,
        CheckName.FREE_SPACE,
    }
    assert wrong - {CheckName.VERSIONS} == {CheckName.AGENT}
    assert not report.healthy
    assert snapshot(short_tmp) == before


def test_what_is_wrong_has_a_fix(patient: Patient) -> None:
    """Of everything that is not OK."""
    put_record(patient.root, "diffusion/acme/broken", "{")
    (patient.root / "link_registry.json").write_text("[]")

    wrong = [entry for entry in examine(patient).checks if entry.state is not OK]

    assert {CheckName.RECORDS, CheckName.LINK_REGISTRY} <= {entry.check for entry in wrong}
    assert all(entry.fix for entry in wrong)


def test_a_library_that_is_not_there_is_no_traceback(short_tmp: Path) -> None:
    """Every check is answered all the same, and nothing is made."""
    report = examine(Patient(short_tmp / "none", short_tmp / "agent.sock", 60, 30))

    assert [entry.state for entry in of(report, CheckName.LIBRARY)] == [WARN]
    assert not any("itself failed" in entry.evidence for entry in report.checks)
    assert not (short_tmp / "none").exists()


def test_a_check_that_fails_itself_is_a_fail_of_that_check(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, and the others go on."""

    def broken(_patient: Patient) -> list[Check]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(machine, "check_clock", broken)

    report = examine(patient)

    (clock,) = of(report, CheckName.CLOCK)
    assert (clock.state, clock.evidence) == (FAIL, "the check itself failed: ZeroDivisionError: by zero")
    assert {entry.check for entry in report.checks} == set(CheckName) - {CheckName.ROOTS}


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Looks at a root do not come back until the test is over; the list has each that was begun."""
    over = threading.Event()
    begun: list[str] = []

    def hang(root: str) -> None:
        begun.append(root)
        over.wait()

    monkeypatch.setattr(roots, "why_unreadable", hang)
    monkeypatch.setattr(examination, "_SECONDS", 0.3)
    yield begun
    over.set()


def test_a_filesystem_that_hangs_is_a_warning_of_its_roots(patient: Patient, hung: list[str]) -> None:
    """In bounded time, naming the root; and the second time nothing waits for it once more."""
    patient = Patient(patient.root, patient.socket, 60, 30, {"a": "/some/where/a", "b": "/some/where/b"})

    async def twice() -> tuple[DoctorReport, DoctorReport]:
        doctor = Doctor(lambda: patient)
        return await doctor.examine(lambda *_: None), await doctor.examine(lambda *_: None)

    started = time.monotonic()
    first, second = asyncio.run(twice())

    (entry,) = of(first, CheckName.ROOTS)
    assert (entry.state, entry.about) == (WARN, "/some/where/a")
    assert "did not answer within 0.3 s; 2 not looked at" in entry.evidence
    assert "an earlier look still waits" in of(second, CheckName.ROOTS)[0].evidence
    assert hung == ["/some/where/a"]
    assert time.monotonic() - started < 30


def test_a_root_that_is_gone_closed_or_whole_is_said(short_tmp: Path) -> None:
    """And a bundle whose link leads nowhere is not called unreadable: that is for the verdict."""
    write_stable_diffusion_bundle(whole := short_tmp / "whole")
    (whole / "dangling").symlink_to("nowhere")
    (file := short_tmp / "file").write_text("")
    table = Mounts((Mount("/", "ext4", "8:1", "/dev/sda1"),))
    places = {"gone": str(short_tmp / "gone"), "file": str(file), "whole": str(whole)}

    (look,) = roots.by_filesystem(Patient(short_tmp, short_tmp, 60, 30, places), table)
    told = [(entry.state, entry.evidence) for entry in look.entries()]

    assert told == [
        (FAIL, "file: it is no folder"),
        (FAIL, "gone: it is not there: No such file or directory"),
        (OK, "1 bundle can be read"),
    ]


@pytest.mark.needs_root
def test_a_file_that_the_agent_may_not_read_is_named(short_tmp: Path) -> None:
    """With the command that shows its mode."""
    write_stable_diffusion_bundle(bundle := short_tmp / "tiny")
    short_tmp.chmod(0o755)
    (closed := bundle / "model_index.json").chmod(0)
    os.seteuid(65534)
    try:
        wrong = roots.why_unreadable(str(bundle))
    finally:
        os.seteuid(0)

    assert wrong is not None
    assert str(closed) in wrong[0]


def test_filesystems_without_events_are_told(short_tmp: Path) -> None:
    """A network, a program and layers are compared at intervals; an index on a network is a warning."""
    table = Mounts(
        (
            Mount("/", "overlay", "0:1", "overlay"),
            Mount("/net", "nfs4", "0:2", "host:/x"),
            Mount("/disk", "ext4", "8:1", "/dev/sda1"),
        )
    )
    places = {"a": "/net/a", "b": "/disk/b", "c": "/c"}

    told = {
        entry.about: entry.evidence
        for entry in roots.check_filesystems(Patient(Path("/home"), short_tmp, 60, 30, places), table)
    }
    (of_library, *_) = roots.check_filesystems(Patient(Path("/net/library"), short_tmp, 60, 30), table)

    compared = "where events do not tell of everything: compared every 60 s"
    assert told == {
        "/": f"1 on overlay, {compared}",
        "/net": f"1 on nfs4, {compared}",
        "/disk": "1 on ext4, watched by events",
    }
    assert (of_library.state, of_library.about) == (WARN, "/net")


def test_a_damaged_index_is_a_fail(patient: Patient) -> None:
    """SQLite's own words."""
    path = patient.root / "models.db"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    path.write_bytes(content)

    (entry,) = of(examine(patient), CheckName.INDEX)

    assert entry.state is FAIL


def test_search_rows_that_differ_are_a_fail(patient: Patient) -> None:
    """They are derived: making them anew loses nothing."""
    with sqlite3.connect(patient.root / "models.db") as connection:
        connection.execute("INSERT INTO model_search (id, official_name) VALUES ('ghost', 'ghost')")
    connection.close()

    (entry,) = of(examine(patient), CheckName.INDEX)

    assert (entry.state, "ghost" in entry.evidence) == (FAIL, True)
    assert "pumas-agent reindex" in str(entry.fix)


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("INSERT INTO agent_migrations VALUES ('9999_later', '2030')", FAIL),
        ("DELETE FROM agent_migrations WHERE name = (SELECT max(name) FROM agent_migrations)", WARN),
    ],
)
def test_an_index_of_another_version_is_said(patient: Patient, sql: str, state: CheckState) -> None:
    """A newer one is only read; an older one is brought up to date at the next start."""
    with sqlite3.connect(patient.root / "models.db") as connection:
        connection.execute(sql)
    connection.close()

    (entry,) = of(examine(patient), CheckName.SCHEMA)

    assert entry.state is state


def test_records_and_rows_that_do_not_meet_are_named(patient: Patient) -> None:
    """A record that cannot be read, and one that the index does not have."""
    put_record(patient.root, "diffusion/acme/broken", "{")
    put_record(patient.root, "diffusion/acme/new")

    told = {(entry.state, entry.about) for entry in of(examine(patient), CheckName.RECORDS)}

    assert {(FAIL, "diffusion/acme/broken"), (WARN, "diffusion/acme/new")} <= told


def test_many_of_a_kind_are_counted(patient: Patient) -> None:
    """The report stays one that a person reads."""
    for number in range(50):
        put_record(patient.root, f"diffusion/acme/m{number}")

    told = of(examine(patient), CheckName.RECORDS)

    assert len(told) == 21
    assert told[-1].evidence == "and 30 more"


def test_a_clock_behind_the_newest_record_is_said(patient: Patient) -> None:
    """Whatever wrote the record was later than now."""
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    with sqlite3.connect(patient.root / "models.db") as connection:
        connection.execute(
            "INSERT INTO models (id, path, cleaned_name, official_name, model_type, tags_json, hashes_json,"
            " metadata_json, updated_at) VALUES ('a/b/c', '/x', 'c', 'c', 'diffusion', '[]', '{}', '{}', ?)",
            (later,),
        )
    connection.close()

    (entry,) = of(examine(patient), CheckName.CLOCK)

    assert (entry.state, later in entry.evidence) == (WARN, True)


def test_old_scratch_is_said_and_new_is_not(patient: Patient) -> None:
    """A copy may be under way."""
    trash, staging = patient.root / ".pumas-trash" / "gone", patient.root / ".pumas-staging" / "copy"
    trash.mkdir(parents=True)
    staging.mkdir(parents=True)
    assert [entry.state for entry in library.check_scratch(patient)] == [OK]

    for folder, days in ((trash, 40), (staging, 2)):
        moment = time.time() - days * 86400
        os.utime(folder, (moment, moment))

    assert [entry.state for entry in library.check_scratch(patient)] == [WARN, WARN]


def test_the_lock_names_who_holds_it(patient: Patient) -> None:
    """And of an agent that listens elsewhere, where."""
    elsewhere = patient.socket.with_name("other.sock")

    assert [entry.evidence for entry in agent.check_lock(patient)] == ["nobody holds it"]
    with LibraryLock(patient.root, "agent", socket=elsewhere):
        (held,) = agent.check_lock(patient)

    assert (held.state, str(os.getpid()) in held.evidence) == (WARN, True)
    assert str(elsewhere) in str(held.fix)


def test_a_socket_is_examined(patient: Patient) -> None:
    """Left over, no socket at all, and in a folder in which everyone may replace it."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(patient.socket))
    assert [entry.state for entry in agent.check_socket(patient)] == [WARN]

    patient.socket.parent.chmod(0o777)
    assert [entry.state for entry in agent.check_socket(patient)] == [FAIL, WARN]
    patient.socket.parent.chmod(0o700)

    patient.socket.unlink()
    patient.socket.write_text("")
    (entry,) = agent.check_socket(patient)
    assert (entry.state, entry.evidence) == (FAIL, "it is no socket")


@pytest.mark.parametrize(
    ("code", "severity", "state"),
    [
        (AlertCode.BUNDLE_CHANGED, Severity.INFO, OK),
        (AlertCode.BUNDLE_OFFLINE, Severity.WARNING, WARN),
        (AlertCode.BUNDLE_MISSING, Severity.ERROR, FAIL),
    ],
)
def test_standing_alerts_are_told(patient: Patient, code: AlertCode, severity: Severity, state: CheckState) -> None:
    """One that only tells is OK."""
    alert = Alert(code=code, severity=severity, model_id="a", path=None, since="2026", evidence={}, hint="do it")
    facts = AgentFacts((alert,), (), HEALTHY.cover, {}, limit_reached=False, connections=1, max_connections=64)

    (entry,) = agent.check_alerts(Patient(patient.root, patient.socket, 60, 30, agent=facts))

    assert entry.state is state


def test_limits_are_compared_with_the_need(patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is nearly used up is a warning with the sysctl that raises it."""
    (tmp_path / "max_user_watches").write_text("5\n")
    (tmp_path / "max_user_instances").write_text("0\n")
    monkeypatch.setattr(machine, "INOTIFY", tmp_path)

    told = machine.check_watches(Patient(patient.root, patient.socket, 60, 30, agent=HEALTHY))

    assert [entry.state for entry in told] == [WARN, WARN]
    assert "fs.inotify.max_user_watches=524288" in str(told[0].fix)


def test_the_use_of_inotify_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what the kernel tells of each descriptor of a process."""
    kernel = pytest.importorskip("pumas_agent.watching.kernel", reason="inotify is Linux")
    (tmp_path / "1").symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(machine, "PROCESSES", tmp_path)
    inotify = kernel.Inotify()
    for path in ("/", "/proc", "/"):
        inotify.add(path)

    used = machine.inotify_use()
    inotify.close()

    assert used == (2, 1)
    assert machine.inotify_use() == (0, 0)


@pytest.mark.parametrize(
    ("here", "asked", "holds"),
    [
        ("7.1.0", "watchdog<8,>=7.1", True),
        ("8.0", "watchdog<8,>=7.1", False),
        ("7.0.9", "watchdog<8,>=7.1", False),
        ("2.12", "pydantic>=2.12.0", True),
        ("10.0rc1", "click>=9", True),
    ],
)
def test_versions_are_compared_number_by_number(here: str, asked: str, holds: bool) -> None:
    """10 is more than 9."""
    assert machine.satisfies(here, asked) is holds


def test_a_unit_that_takes_nothing_away_is_said(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of the process that systemd itself started."""
    patient = Patient(patient.root, patient.socket, 60, 30, agent=HEALTHY)
    assert [entry.evidence for entry in machine.check_unit(patient)] == ["not started by systemd"]

    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    (entry,) = machine.check_unit(patient)
    status = Path("/proc/self/status").read_text()

    assert ("NoNewPrivileges" in entry.evidence) == ("NoNewPrivs:\t0" in status)


def test_the_report_is_json(patient: Patient) -> None:
    """Names that are not UTF-8 are told as well."""
    patient = Patient(patient.root, patient.socket, 60, 30, {"a": "/no/caf\udce9"})

    told = json.loads(examine(patient).model_dump_json())

    assert "/no/caf\\udce9" in {entry["about"] for entry in told["checks"]}
    assert stat.S_ISDIR(patient.root.stat().st_mode)
