"""`python -m pumas_agent.bundles.tables.regenerate SITE_PACKAGES [--check]`: the tables, from an installed diffusers.

Reads the source of diffusers and transformers below a site-packages folder and imports neither. What a pipeline is for
cannot be read from source: tasks.json is kept by people, and a new class stops the regeneration until it has a task.
"""

import argparse
import gc
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pumas_agent.bundles.tables import diffusers_source, transformers_source
from pumas_agent.bundles.tables.facts import COMPONENTS, FOLDER, PIPELINES, TASKS
from pumas_agent.bundles.tables.source import PackageSource


def made_from(diffusers: PackageSource, transformers: PackageSource) -> dict[str, dict[str, Any]]:
    """The content of the generated files, by name.

    Raises:
        ValueError: a package is written in a way that is not understood.
    """
    classes = transformers_source.classes(transformers)
    libraries = diffusers_source.libraries(diffusers, transformers)
    own_tokenizers = [name for kinds in libraries.values() for name in kinds.get("tokenizer", [])]
    return {
        PIPELINES: {"diffusers": diffusers.version, "pipelines": diffusers_source.pipelines(diffusers)},
        COMPONENTS: {
            "diffusers": diffusers.version,
            "transformers": transformers.version,
            "libraries": {**libraries, "transformers": classes},
            "remapped": diffusers_source.remapped(diffusers),
            "schedulers": diffusers_source.schedulers(diffusers),
            "tokenizer_files": {
                **transformers_source.tokenizer_files(transformers, classes.get("tokenizer", [])),
                **transformers_source.tokenizer_files(diffusers, own_tokenizers),
            },
        },
    }


def main() -> int:
    """Write the tables, or with --check say what differs; 1 when something does, or a class has no task."""
    parser = argparse.ArgumentParser(prog="python -m pumas_agent.bundles.tables.regenerate", description=__doc__)
    parser.add_argument("site_packages", type=Path, help="the folder that holds diffusers and transformers")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    arguments = parser.parse_args()
    gc.disable()  # millions of nodes of syntax trees, none of them garbage: looking for some takes most of the time
    try:
        diffusers = PackageSource(arguments.site_packages, "diffusers")
        transformers = PackageSource(arguments.site_packages, "transformers")
    except FileNotFoundError as error:
        parser.error(str(error))
    made = made_from(diffusers, transformers)
    tasks = json.loads((FOLDER / TASKS).read_bytes())
    taskless = sorted(made[PIPELINES]["pipelines"].keys() - tasks.keys())
    for name in taskless:
        told = ", ".join(diffusers_source.media(diffusers, name))
        _say(f"{TASKS}: {name} needs a task; its call is about {told or 'no text, picture, film or sound'}")
    differing = [name for name, content in made.items() if _text(content) != (FOLDER / name).read_text()]
    if arguments.check:
        for name in differing:
            for line in sorted(_differences(json.loads((FOLDER / name).read_bytes()), made[name])):
                _say(f"{name}: {line}")
    elif not taskless:
        for name in differing:
            (FOLDER / name).write_text(_text(made[name]))
            _say(f"{name}: written")
    return 1 if taskless or (arguments.check and differing) else 0


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        inner = (_differences(old.get(key), new.get(key), f"{place}/{key}") for key in {*old, *new})
        return [line for lines in inner for line in lines]
    if isinstance(old, list) and isinstance(new, list):
        return [f"{place}: - {item}" for item in old if item not in new] + [
            f"{place}: + {item}" for item in new if item not in old
        ]
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
