"""Dirty scopes become runs. Owns when to look and how often; what a look does is the reconciler's."""

from pumas_agent.reconcile.dirty import Clock, DirtySet, Job
from pumas_agent.reconcile.queue import ReconcileQueue, Run
from pumas_agent.reconcile.reconciler import RECORDS_CHANGED, ProgressSink, Reconciler, no_progress
from pumas_agent.reconcile.schedule import Schedule

__all__ = [
    "RECORDS_CHANGED",
    "Clock",
    "DirtySet",
    "Job",
    "ProgressSink",
    "ReconcileQueue",
    "Reconciler",
    "Run",
    "Schedule",
    "no_progress",
]
