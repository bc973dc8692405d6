"""The colours of the page can be told from their grounds, in light and in dark (WCAG 2.2, AA)."""

import re
from importlib import resources

import pytest

CSS = (resources.files("pumas_agent.web") / "static" / "page.css").read_text(encoding="utf-8")
TEXT = [
    *((text, ground) for text in ("text", "quiet", "link") for ground in ("ground", "panel", "sunken")),
    ("on-accent", "accent"),
    *((f"{state}", f"{state}-ground") for state in ("good", "warn", "bad", "info")),
    *((state, ground) for state in ("good", "bad") for ground in ("ground", "panel")),
    *(("text", f"{state}-ground") for state in ("warn", "bad")),
    ("quiet", "bad-ground"),
    ("link", "bad-ground"),
]
"""Which colour is written on which: 4.5 to one."""
EDGES = [*(("edge", ground) for ground in ("ground", "panel")), ("accent", "ground"), ("accent", "panel")]
"""What shows where something can be used, and where the focus is: 3 to one."""


def palette(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return colours if scheme == "light" else colours | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_controls_be_seen(scheme: str) -> None:
    colours = palette(scheme)

    faint = [
        (*pair, least)
        for pairs, least in ((TEXT, 4.5), (EDGES, 3.0))
        for pair in pairs
        if contrast(colours[pair[0]], colours[pair[1]]) < least
    ]

    assert faint == []


def test_every_colour_is_one_of_the_palette() -> None:
    """Outside of it only shadows and veils have colours of their own."""
    rules = re.sub(r":root \{.*?\}", "", CSS, flags=re.DOTALL)

    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?! \{)(?=[;, )])", rules) == []
