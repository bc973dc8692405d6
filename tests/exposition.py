"""A strict reader of the text format of Prometheus, version 0.0.4: what it does not know is an error."""

import re

Labels = tuple[tuple[str, str], ...]
Family = tuple[str, str, dict[Labels, float]]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_VALUE = r'"((?:[^"\\\n]|\\["\\n])*)"'
_LABEL = rf"([a-zA-Z_][a-zA-Z0-9_]*)={_VALUE}"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9.e+-]+)")


def parse(text: str) -> dict[str, Family]:
    """Each family by name: its type, its meaning, and its samples by labels. HELP, then TYPE, then the samples."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    meaning: dict[str, str] = {}
    current = ""
    for line in text[:-1].split("\n"):
        if help_line := re.fullmatch(rf"# HELP ({_NAME}) (.+)", line):
            current = help_line[1]
            assert current not in meaning, f"{current} is there twice"
            meaning[current] = _plain(help_line[2])
        elif type_line := re.fullmatch(rf"# TYPE ({_NAME}) (gauge|counter)", line):
            assert type_line[1] == current, f"TYPE of {type_line[1]} after HELP of {current}"
            assert (type_line[2] == "counter") == current.endswith("_total"), current
            families[current] = type_line[2], meaning[current], {}
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == current, f"a sample of {sample[1]} under {current}"
            labels = tuple((name, _plain(value)) for name, value in re.findall(_LABEL, sample[2] or ""))
            assert labels not in families[current][2], f"{line} is there twice"
            families[current][2][labels] = float(sample[7])
    return families


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)
