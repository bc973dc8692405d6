"""A model, profiles and bindings in memory, for the rules of resolution and audit."""

import json
from typing import Any

import pytest

from pumas_agent.contracts.dependencies import DependencyRequirementsResolution
from pumas_agent.dependencies import parse_spec, resolve_requirements
from pumas_agent.library import BindingRow, CatalogEntry, DependencyBook, ProfileRow
from pumas_agent.library.catalog import entry_of
from pumas_agent.library.index import IndexRow

MODEL = "diffusion/f/m"


class Needs:
    """What one model needs."""

    def __init__(self) -> None:
        self.book = DependencyBook()
        self.facts: dict[str, Any] = {"input_modalities": ["text"], "output_modalities": ["text"]}

    @property
    def entry(self) -> CatalogEntry:
        row = IndexRow(MODEL, "/l", "m", "M", "diffusion", "[]", "{}", json.dumps(self.facts), "2026")
        return entry_of(row)

    def profile(self, name: str = "p", version: int = 1, *pins: str, kind: str = "python-venv", **more: Any) -> str:
        """Store a profile of `name==version` pins; its hash."""
        pairs = [pin.partition("==") for pin in pins or ("torch==1.0",)]
        packages = [{"name": package, "version": f"=={pin}"} for package, _, pin in pairs]
        spec = parse_spec({"python_packages": packages, **more}, kind)
        self.book.put_profile(ProfileRow(name, version, spec.hash, kind, spec.text, "2026"))
        return spec.hash

    def stored(self, spec_json: str, name: str = "p") -> None:
        """A profile as another program wrote it."""
        self.book.put_profile(ProfileRow(name, 1, None, "python-venv", spec_json, "2026"))

    def bind(self, binding_id: str = "b", profile: str = "p", version: int = 1, **fields: Any) -> None:
        given: dict[str, Any] = {
            "binding_kind": "required_core",
            "backend_key": None,
            "platform_selector": None,
            "status": "active",
            "priority": 100,
            "attached_by": "me",
            "attached_at": "2026",
        }
        self.book.put_binding(BindingRow(binding_id, MODEL, profile, version, **(given | fields)))

    def resolve(
        self, platform: str | None = "linux-x86_64", backend: str | None = None
    ) -> DependencyRequirementsResolution:
        return resolve_requirements(self.entry, self.book, platform_context=platform, backend=backend)


@pytest.fixture
def needs() -> Needs:
    return Needs()
