"""The pages that show a terminal tell the truth: what they say to type is typed, and prints what they show."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumas_agent.demo.bundles import BundleKind, write_bundle
from tests.console import Command, Reader

DOCS = Path(__file__).parents[2] / "docs"
DIFFUSERS = '''
"""Loads no weights and draws nothing, for machines without the real one."""
from pathlib import Path


class Picture:
    def save(self, path):
        Path(path).write_bytes(b"no picture")


class StableDiffusionPipeline:
    images = [Picture()]

    @classmethod
    def from_pretrained(cls, root, *, local_files_only, torch_dtype, use_safetensors):
        assert (Path(root) / "unet" / "diffusion_pytorch_model.safetensors").is_file()
        assert (local_files_only, torch_dtype, use_safetensors) == (True, "float32", True)
        return cls()

    def __call__(self, prompt, **options):
        return self
'''

MakeReader = Callable[..., Reader]


@pytest.fixture
def reader(short_tmp: Path) -> Iterator[MakeReader]:
    """Makes a reader with the commands of this package, and the libraries of a runtime."""
    programs, libraries, home, run = (short_tmp / name for name in ("bin", "lib", "you", "run"))
    for folder in (programs, libraries, home, run):
        folder.mkdir(mode=0o700)
    for name, arguments in (("pumas-agent", " -m pumas_agent"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{arguments} "$@"\n')
        (programs / name).chmod(0o755)
    if importlib.util.find_spec("diffusers") is None:
        (libraries / "diffusers.py").write_text(DIFFUSERS)
        (libraries / "torch.py").write_text('float32 = "float32"\n')
    environ = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(run),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{libraries}:{os.environ.get('PYTHONPATH', '')}",
    }
    made: list[Reader] = []

    def make(**places: Path) -> Reader:
        folders = {f"/{name.replace('_', '/')}": path for name, path in places.items()}
        made.append(Reader(home, {"/run/user/1000": run, **folders}, environ))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_the_tutorial_is_as_it_says(reader: MakeReader) -> None:
    """From nothing to a picture, and what the runtime is told of a broken bundle."""
    beginner = reader()

    typed = beginner.follow(DOCS / "tutorial" / "first-bundle.md")
    beginner.stop()

    assert typed > 15


def test_moving_a_collection_is_as_it_says(reader: MakeReader, short_tmp: Path) -> None:
    """Without a pause, with a copy that was cut off, and after the fact; ids stay."""
    old, new, spare = (short_tmp / name for name in ("old", "new", "spare"))
    new.mkdir()
    owner = reader(mnt_old=old, mnt_new=new, mnt_spare=spare)
    owner.do(Command("pumas-agent run", "…\n"))
    kinds = {"flux": BundleKind.FLUX, "sdxl": BundleKind.STABLE_DIFFUSION_XL, "tiny": BundleKind.STABLE_DIFFUSION}
    for name, kind in kinds.items():
        write_bundle(kind, old / "models" / name)
        owner.do(Command(f"pumas-agent register /mnt/old/models/{name} --family acme", "…\n"))

    typed = owner.follow(DOCS / "how-to" / "move-a-collection.md")
    owner.stop()

    assert typed > 10
