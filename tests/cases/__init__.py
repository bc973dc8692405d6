"""The catalogue of deliberate damage: named changes to whole bundles, applied to a copy on disk.

Each name says the family and what is changed. What the real library makes of a change stands in tests/data.
"""

from collections.abc import Iterator

from tests.cases.change import Change
from tests.cases.config_keys import config_key_changes
from tests.cases.configs import config_changes
from tests.cases.exchanges import exchange_changes
from tests.cases.index import index_changes
from tests.cases.places import place_changes
from tests.cases.shards import shard_changes
from tests.cases.single_settings import single_setting_changes
from tests.cases.spec import spec_changes
from tests.cases.tokenizers import tokenizer_changes
from tests.cases.variants import variant_changes
from tests.cases.vocabularies import vocabulary_changes
from tests.cases.weight_tensors import tensor_changes
from tests.cases.weights import weight_changes

__all__ = ["CHANGES", "Change"]


def _all() -> Iterator[Change]:
    yield from index_changes()
    yield from spec_changes()
    yield from place_changes()
    yield from config_changes()
    yield from config_key_changes()
    yield from weight_changes()
    yield from tensor_changes()
    yield from variant_changes()
    yield from shard_changes()
    yield from tokenizer_changes()
    yield from vocabulary_changes()
    yield from exchange_changes()
    yield from single_setting_changes()


def _by_name() -> dict[str, Change]:
    found: dict[str, Change] = {}
    for change in _all():
        assert change.name not in found, f"two changes are called {change.name}"
        found[change.name] = change
    return found


CHANGES = _by_name()
