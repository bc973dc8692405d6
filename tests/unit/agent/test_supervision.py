"""The line for the service manager, and what of new settings a running agent takes."""

from pathlib import Path
from typing import Any

import pytest

from pumas_agent.agent.reloading import AT_ONCE, reload
from pumas_agent.agent.supervision import status_line
from pumas_agent.contracts.health import SEVERITIES, Alert, AlertCode
from pumas_agent.settings import Settings, load_settings


def _alert(code: AlertCode) -> Alert:
    return Alert(code=code, severity=SEVERITIES[code], model_id=None, path=None, since="", evidence={}, hint="")


def test_the_line_says_bundles_by_state_and_what_is_wrong() -> None:
    """Most first; of many alerts some are named, each code once."""
    missing, limit = _alert(AlertCode.BUNDLE_MISSING), _alert(AlertCode.WATCH_LIMIT)
    many = [_alert(code) for code in AlertCode]

    assert status_line({}, ()) == "0 bundles; healthy"
    assert status_line({"valid": 1}, ()) == "1 bundle (1 valid); healthy"
    assert (
        status_line({"degraded": 1, "valid": 9}, [missing, missing, limit])
        == "10 bundles (9 valid, 1 degraded); 3 alerts: bundle_missing, watch_limit"
    )
    assert status_line({}, many).endswith(f"{len(many)} alerts: bundle_missing, bundle_offline, bundle_moved, …")


def _settings(**sections: dict[str, Any]) -> Settings:
    return load_settings(None, {"HOME": "/h"}, sections)


@pytest.mark.parametrize(
    ("section", "key", "value", "at_once"),
    [
        ("library", "trash_days", 1, True),
        ("library", "adopt", False, True),
        ("library", "root", "/other", False),
        ("socket", "path", "/s", False),
        ("socket", "group", "render", False),
        ("watch", "debounce_ms", 1, True),
        ("watch", "max_delay_ms", 9000, True),
        ("watch", "backend", "polling", False),
        ("watch", "identity_poll_s", 1, False),
        ("bundles", "search_roots", ("/a",), True),
        ("bundles", "auto_relocate", True, True),
        ("bundles", "depth", "structure", False),
        ("health", "mass_disappearance_share", 0.1, True),
        ("health", "visible_after_ms", 5, True),
        ("health", "on_alert", ("/bin/true",), True),
        ("health", "metrics_file", "/x.prom", True),
        ("feed", "keep_days", 1, True),
        ("mapping", "config_dir", "/m", False),
        ("log", "level", "debug", True),
        ("log", "format", "json", False),
    ],
)
def test_a_setting_holds_at_once_or_is_named(section: str, key: str, value: object, *, at_once: bool) -> None:
    """What holds only after a restart is left as it was, so that the agent never says what is not so."""
    old, new = _settings(), _settings(**{section: {key: value}})

    done = reload(old, new)

    name = (f"{section}.{key}",)
    assert (done.changed, done.restart) == ((name, ()) if at_once else ((), name))
    assert done.settings == (new if at_once else old)


def test_who_said_a_setting_goes_with_its_value(tmp_path: Path) -> None:
    """Of what holds only after a restart, it is still the one who said the old value."""
    said = tmp_path / "a.toml"
    said.write_text('[health]\non_alert = ["/bin/true"]\n[socket]\ngroup = "render"\n')
    new = load_settings(said, {"HOME": "/h"}, {})

    done = reload(_settings(), new)
    again = reload(done.settings, _settings())

    assert (done.settings.file_of("health.on_alert"), done.settings.file_of("socket.group")) == (said, None)
    assert again.settings.files() == {}


def test_the_same_settings_change_nothing() -> None:
    """Told twice, it is said once."""
    old = _settings(bundles={"extra_pipelines": {"P": {"task": "text-to-image"}}})

    assert reload(old, _settings(bundles={"extra_pipelines": {"P": {"task": "text-to-image"}}})).changed == ()
    assert reload(old, old).settings == old


def test_every_name_of_the_list_is_a_setting() -> None:
    """A name that is mistyped would silently need a restart."""
    known = {f"{section}.{key}" for section, values in _settings().model_dump().items() for key in values}

    for name in AT_ONCE:
        assert name in known or (name.endswith(".") and any(one.startswith(name) for one in known))
    assert Path("/h") in _settings().library.root.parents
