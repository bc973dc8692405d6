"""Law 7: the words about packages and the words about files never meet."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pumas_agent
from pumas_agent.contracts.dependencies import DependencyErrorCode, DependencyValidationState
from pumas_agent.contracts.metadata import AssetValidationState, ImportState

PACKAGE = Path(pumas_agent.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ASSET = {"AssetValidationState", "ImportState", "AssetValidationError"}
DEPENDENCY = {"DependencyValidationState", "DependencyErrorCode", "DependencyValidationError"}


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


def functions(path: Path) -> Iterator[ast.AST]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def test_no_word_is_in_both_vocabularies() -> None:
    """R10: states, and codes of errors too."""
    files = {word.value for word in (*AssetValidationState, *ImportState)}
    packages = {word.value for word in (*DependencyValidationState, *DependencyErrorCode)}

    assert files.isdisjoint(packages)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_function_knows_both_vocabularies(path: Path) -> None:
    """So none can map the one on the other."""
    both = [ast.unparse(node)[:80] for node in functions(path) if names(node) & ASSET and names(node) & DEPENDENCY]

    assert both == []


def test_the_words_about_packages_are_spoken_in_one_part() -> None:
    """And by nobody else: what happens to an asset cannot depend on them. In that part nobody speaks of assets."""
    speakers = {path.parent.name for path in MODULES if names(ast.parse(path.read_text())) & DEPENDENCY}

    assert speakers == {"dependencies", "contracts"}
    own = [names(ast.parse(path.read_text())) for path in (PACKAGE / "dependencies").glob("*.py")]
    assert own
    assert not ASSET & set().union(*own)
    assert "metadata" not in (PACKAGE / "contracts" / "dependencies.py").read_text().split('"""')[2]
