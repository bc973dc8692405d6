"""The agent, its lock, its socket and what it says is wrong. Connects to nothing but the socket it is told of."""

import os
import socket
import stat

from pumas_agent.contracts.doctor import Check, CheckName
from pumas_agent.contracts.health import Severity
from pumas_agent.library import lock_holder
from pumas_agent.serving.doctor.patient import Patient, fail, ok, warn
from pumas_agent.serving.peers import identify_peer

_PROBE_S = 1.0
_RUN = "`pumas-agent run`, or `systemctl --user start pumas-agent`"


def check_agent(patient: Patient) -> list[Check]:
    """That one runs, that it has room for clients, and that nothing failed in it."""
    facts = patient.agent
    if facts is None:
        return [warn(CheckName.AGENT, "no agent answers: this was examined by the command", _RUN)]
    found = [ok(CheckName.AGENT, f"pid {os.getpid()}, {facts.connections} of {facts.max_connections} connections")]
    if facts.connections >= facts.max_connections * 0.9:
        found = [warn(CheckName.AGENT, found[0].evidence, "close clients, or raise socket.max_connections")]
    return [*found, *(fail(CheckName.AGENT, fault, "its log says more; restart it") for fault in facts.faults)]


def check_lock(patient: Patient) -> list[Check]:
    """Who may write to the library."""
    holder = lock_holder(patient.root)
    if holder is None:
        if patient.agent is not None:
            return [fail(CheckName.LOCK, "this agent does not hold the lock it took", "restart the agent")]
        return [ok(CheckName.LOCK, "nobody holds it")]
    who = f"held by {holder.role or 'a process'} (pid {holder.pid or 'unknown'})"
    if holder.socket is not None:
        who += f", which listens on {holder.socket}"
    if patient.agent is not None and holder.pid != os.getpid():
        return [fail(CheckName.LOCK, f"{who}, and not by this agent", "stop one of the two")]
    if patient.agent is None and holder.role == "agent" and holder.socket not in (None, patient.socket.absolute()):
        return [warn(CheckName.LOCK, who, f"ask it there: `pumas-agent --socket {holder.socket} doctor`")]
    return [ok(CheckName.LOCK, who)]


def check_socket(patient: Patient) -> list[Check]:
    """That it is there, ours, closed to others, and that somebody answers on it."""
    path = patient.socket
    try:
        facts = path.lstat()
        folder = path.parent.stat()
    except FileNotFoundError:
        if patient.agent is not None:
            return [fail(CheckName.SOCKET, "the socket is gone: no new client can connect", "restart the agent", path)]
        return [ok(CheckName.SOCKET, "no socket there, as long as no agent runs", path)]
    if not stat.S_ISSOCK(facts.st_mode):
        return [fail(CheckName.SOCKET, "it is no socket", f"move it away: `mv {path} {path}.old`", path)]
    found: list[Check] = []
    if facts.st_uid not in (os.geteuid(), 0):
        evidence = f"it belongs to uid {facts.st_uid}, and not to {os.geteuid()}"
        found.append(
            warn(CheckName.SOCKET, evidence, "run commands as the user of the agent, or set socket.path", path)
        )
    if facts.st_mode & stat.S_IWOTH:
        evidence = f"everyone may connect (mode {stat.S_IMODE(facts.st_mode):04o})"
        found.append(warn(CheckName.SOCKET, evidence, f"`chmod o-rw {path}`", path))
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        evidence = "everyone may replace files in its folder, so any program could pose as the agent"
        found.append(fail(CheckName.SOCKET, evidence, f"`chmod o-w {path.parent}`", path.parent))
    return [*found, _answer(patient)]


def _answer(patient: Patient) -> Check:
    path = patient.socket
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
            pid = identify_peer(probe).pid
        except ConnectionRefusedError:
            return warn(CheckName.SOCKET, "left over from an agent that ended: nobody listens", _RUN, path)
        except PermissionError:
            return fail(CheckName.SOCKET, "this user may not connect", f"`ls -l {path}`; set socket.group", path)
        except OSError as error:
            fix = "look whether the agent hangs: its log, `kill` it, start it again"
            return fail(CheckName.SOCKET, f"it cannot be connected to: {error.strerror or error}", fix, path)
    if patient.agent is not None and pid not in (0, os.getpid()):
        return fail(CheckName.SOCKET, f"another process (pid {pid}) listens there", "stop one of the two", path)
    if patient.agent is None:  # whoever could answer would have been asked
        evidence = f"pid {pid} listens there and did not examine itself"
        return warn(
            CheckName.SOCKET, evidence, "see whether it is an agent of this library: `pumas-agent status`", path
        )
    mode = stat.S_IMODE(path.lstat().st_mode)
    return ok(CheckName.SOCKET, f"mode {mode:04o}, in a folder of {stat.S_IMODE(path.parent.stat().st_mode):04o}", path)


def check_alerts(patient: Patient) -> list[Check]:
    """What the agent says is wrong."""
    if patient.agent is None:
        return [ok(CheckName.ALERTS, "only a running agent has any")]
    found: list[Check] = []
    for alert in patient.agent.alerts:
        about = alert.model_id or alert.path
        evidence = f"{alert.code} since {alert.since}"
        if alert.severity is Severity.INFO:
            found.append(ok(CheckName.ALERTS, evidence, about))
        elif alert.severity is Severity.WARNING:
            found.append(warn(CheckName.ALERTS, evidence, alert.hint, about))
        else:
            found.append(fail(CheckName.ALERTS, evidence, alert.hint, about))
    return found or [ok(CheckName.ALERTS, "none stands")]
