"""Filesystem events become dirty scopes. Owns what is watched and how; never judges what an event means."""

from pumas_agent.watching.scopes import library_scope
from pumas_agent.watching.watchdog_watcher import WatchdogWatcher
from pumas_agent.watching.watcher import LIBRARY, MarkDirty, WatchBackend, WatchCover, Watcher

__all__ = ["LIBRARY", "MarkDirty", "WatchBackend", "WatchCover", "WatchdogWatcher", "Watcher", "library_scope"]
