"""Finding models by whatever a person typed. Owns the order of what is found; knows no filter and no page.

The index finds words by how they begin, in every column. Where it cannot know what a word is (punctuation, scripts
without spaces between words, the middle of a name), the names in the catalog are searched for the text as it stands.
"""

from pumas_agent.library.catalog import Catalog, CatalogEntry
from pumas_agent.library.index import IndexReader
from pumas_agent.library.names import begins, folded, is_plain, is_whole

_MOST_PARTS = 16
"""Words that are looked for inside of names: each is compared with every model."""


def find(index: IndexReader, catalog: Catalog, text: str) -> list[CatalogEntry]:
    """The models that a text finds, best first; all of them, newest first, for a blank text.

    First those with just that id or name, then those with one that begins so, then by the rank of the index. A name
    that holds the text elsewhere comes before the ranked ones when the text is more than one plain word, else after
    them: a text with a sign or a space in it was meant as it stands. Equal ones are in the order of their ids.
    """
    if not text.strip():
        return list(catalog.newest_first())
    needle = folded(text)
    entries = catalog.by_id()
    exact, beginning, inside = _holding(entries, needle)
    best, common = index.rank(text)
    by_words = [entry for model_id in best if (entry := catalog.get(model_id)) is not None]
    if common:
        by_words = _once(by_words, _with_a_common_word(index, entries, common))
    found = _once(exact, beginning, *((by_words, inside) if is_plain(needle) else (inside, by_words)))
    return found + _with_a_part(entries, needle, {entry.id for entry in found})


def names_holding(catalog: Catalog, text: str) -> list[CatalogEntry]:
    """The models with an id, name or repository that holds the text as it stands, by id; all for a blank text."""
    needle = folded(text)
    if not needle:
        return [] if text.strip() else catalog.by_id()
    return [entry for entry in catalog.by_id() if needle in entry.names]


def _holding(
    entries: list[CatalogEntry], needle: str
) -> tuple[list[CatalogEntry], list[CatalogEntry], list[CatalogEntry]]:
    """The models with a name that is the needle, with one that begins with it, and with one that holds it elsewhere."""
    exact: list[CatalogEntry] = []
    beginning: list[CatalogEntry] = []
    inside: list[CatalogEntry] = []
    for entry in [entry for entry in entries if needle in entry.names] if needle else ():
        if not begins(entry.names, needle):
            inside.append(entry)
        elif is_whole(entry.names, needle):
            exact.append(entry)
        else:
            beginning.append(entry)
    return exact, beginning, inside


def _with_a_common_word(index: IndexReader, entries: list[CatalogEntry], words: list[str]) -> list[CatalogEntry]:
    """The models that have one of the words, by id. From memory where that gives the same, in a tenth of the time."""
    starts = [f" {word}" for word in map(folded, words) if is_plain(word)]
    others = set[str]().union(*(index.having(word) for word in words if not is_plain(folded(word))))
    if len(starts) == 1 and not others:
        return [entry for entry in entries if starts[0] in entry.words]
    if not starts and not others:
        return []
    return [entry for entry in entries if entry.id in others or any(start in entry.words for start in starts)]


def _once(*tiers: list[CatalogEntry]) -> list[CatalogEntry]:
    """The entries of all tiers, each where it comes first."""
    filled = [tier for tier in tiers if tier]
    if len(filled) == 1:
        return filled[0]
    return list({entry.id: entry for tier in filled for entry in tier}.values())


def _with_a_part(entries: list[CatalogEntry], needle: str, known: set[str]) -> list[CatalogEntry]:
    """Further models with a name that holds one of several words, as far as these are no words to the index."""
    words = dict.fromkeys(needle.split())
    parts = [word for word in words if any(map(str.isalnum, word)) and not is_plain(word)][:_MOST_PARTS]
    if len(words) == 1 or not parts:
        return []
    return [entry for entry in entries if entry.id not in known and any(part in entry.names for part in parts)]
