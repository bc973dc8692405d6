"""What of a new configuration holds at once, and what only after a restart. Pure: it applies nothing."""

from dataclasses import dataclass

from pumas_agent.settings import Settings

AT_ONCE = (
    "library.trash_days",
    "library.adopt",
    "watch.debounce_ms",
    "watch.max_delay_ms",
    "bundles.search_roots",
    "bundles.auto_relocate",
    "health.mass_disappearance_share",
    "health.mass_disappearance_min",
    "health.visible_after_ms",
    "health.on_alert",
    "health.metrics_file",
    "feed.",
    "paths.map",
    "log.level",
)
"""The settings a running agent can change; one that ends in a dot is a section."""


@dataclass(frozen=True, slots=True)
class Reload:
    """What becomes of new settings.

    Attributes:
        settings: those that hold from now on.
        changed: the names of what is other than before.
        restart: the names of what was changed and holds only after a restart.
    """

    settings: Settings
    changed: tuple[str, ...]
    restart: tuple[str, ...]


def reload(old: Settings, new: Settings) -> Reload:
    """Take from the new settings what a running agent can change."""
    held, wanted = old.model_dump(), new.model_dump()
    changed: list[str] = []
    restart: list[str] = []
    for section, values in wanted.items():
        for key, value in values.items():
            name = f"{section}.{key}"
            if held[section][key] == value:
                continue
            if name.startswith(AT_ONCE):
                held[section][key] = value
                changed.append(name)
            else:
                restart.append(name)
    # Who said a value goes with it: that decides whether the program that it names is run.
    origins = {name: file for name, file in new.files().items() if name not in restart}
    origins |= {name: file for name, file in old.files().items() if name in restart}
    return Reload(Settings.model_validate(held).told_in(origins), tuple(changed), tuple(restart))
