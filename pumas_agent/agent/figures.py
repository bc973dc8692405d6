"""What the agent measures of itself, as metrics. Reads what the parts count; counts nothing."""

import resource
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pumas_agent.contracts.metadata import AssetValidationState
from pumas_agent.contracts.records import AgentStatus
from pumas_agent.health import AlertHook
from pumas_agent.health.metrics import Metric, metric
from pumas_agent.serving.parts import Parts
from pumas_agent.serving.subscriptions import Subscriptions

_WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True)
class Resources:
    """What this process uses of the machine."""

    rss_bytes: int
    open_fds: int
    cpu_seconds: float


def resources() -> Resources:
    """Now. Reads /proc, which answers at once."""
    process = psutil.Process()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Resources(process.memory_info().rss, process.num_fds(), round(used.ru_utime + used.ru_stime, 3))


def watch_limit(max_watches: int) -> int | None:
    """How many inotify watches may be had; None where nobody says."""
    limits = [max_watches] if max_watches else []
    with suppress(OSError, ValueError):  # there is none on other systems, and in some containers
        limits.append(int(_WATCH_LIMIT.read_text()))
    return min(limits, default=None)


def agent_metrics(
    status: AgentStatus,
    parts: Parts,
    *,
    started: float,
    watches_max: int | None,
    subscriptions: Subscriptions,
    hook: AlertHook,
    judging: Mapping[str, int],
) -> list[Metric]:
    """Everything that is measured.

    Args:
        status: as `agent.status` says it now.
        parts: of this agent.
        started: when the agent did, on the monotonic clock.
        watches_max: see `watch_limit`.
        subscriptions: of all clients.
        hook: whoever is told of alerts by it.
        judging: the processes that judge bundles, by what they do.
    """
    standing = Counter((alert.code.value, alert.severity.value) for alert in status.alerts)
    bundles = {state: status.bundles.get(state, 0) for state in (*map(str, AssetValidationState), "unknown")}
    lookups = parts.resolver.lookups
    reconciler = parts.reconciler
    return [
        Metric("pumas_agent_info", "The version, as a label.", samples=(({"version": status.version}, 1),)),
        metric("pumas_agent_uptime_seconds", "Seconds since the start.", round(time.monotonic() - started, 3)),
        metric(
            "pumas_agent_healthy", "1 when nothing stands that somebody has to do something about.", int(status.healthy)
        ),
        metric("pumas_agent_models", "Models in the library.", status.models),
        Metric(
            "pumas_agent_bundles",
            "Bundles by validation state.",
            samples=[({"state": state}, count) for state, count in bundles.items()],
        ),
        Metric(
            "pumas_agent_alerts",
            "Alerts that stand, by code and severity.",
            samples=[({"code": code, "severity": name}, count) for (code, name), count in sorted(standing.items())],
        ),
        metric("pumas_agent_alert_transitions_total", "Changes of alerts.", parts.alerts.journal.sequence, "counter"),
        metric("pumas_agent_generation", "Position of the newest change of the library.", status.generation),
        metric("pumas_agent_reconciles_total", "Looks at the disk that were finished.", reconciler.runs, "counter"),
        metric(
            "pumas_agent_reconcile_failures_total", "Looks at the disk that failed.", reconciler.failures, "counter"
        ),
        metric(
            "pumas_agent_reconcile_last_duration_seconds",
            "How long the last finished look took.",
            round(reconciler.last_duration_s, 6),
        ),
        metric("pumas_agent_queue_length", "Scopes waiting to be looked at, or being looked at.", status.queue),
        Metric(
            "pumas_agent_judging_processes",
            "Processes that judge bundles, by what they do.",
            samples=[({"state": state}, count) for state, count in judging.items()],
        ),
        Metric(
            "pumas_agent_lookups_total",
            "Lookups of what may be executed, by what became of them.",
            "counter",
            [({"result": name}, count) for name, count in lookups.by_result().items()],
        ),
        metric("pumas_agent_connections", "Connections that are open.", status.connections),
        metric("pumas_agent_subscriptions", "Subscriptions to events.", subscriptions.count),
        metric("pumas_agent_watched_roots", "Roots that are watched.", status.watched_roots),
        metric("pumas_agent_watches", "inotify watches in use.", status.watches),
        Metric(
            "pumas_agent_watches_limit",
            "inotify watches that may be had.",
            samples=() if watches_max is None else (({}, watches_max),),
        ),
        metric("pumas_agent_watch_faults", "Roots that nothing covers.", len(status.watch_faults)),
        metric("pumas_agent_watch_overflows_total", "How often events were lost.", status.watch_overflows, "counter"),
        metric("pumas_agent_hook_runs_total", "Runs of the hook.", hook.runs, "counter"),
        metric("pumas_agent_hook_failures_total", "Runs that failed.", hook.failures, "counter"),
        metric(
            "pumas_agent_hook_dropped_total",
            "Changes of alerts that the hook was not run for.",
            hook.dropped,
            "counter",
        ),
        metric(
            "pumas_agent_resident_memory_bytes", "Memory of the agent, without its judging processes.", status.rss_bytes
        ),
        metric("pumas_agent_open_fds", "File descriptors that are open.", status.open_fds),
        metric("pumas_agent_cpu_seconds_total", "Processor time of the agent.", status.cpu_seconds, "counter"),
        metric(
            "pumas_agent_wakeups_total",
            "How often a thread of the agent went on after it had waited.",
            resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw,
            "counter",
        ),
    ]
