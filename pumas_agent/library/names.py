"""Names as a search compares them: case, accents and kinds of spaces do not matter. Pure; knows no model."""

import re
import unicodedata

_BETWEEN_WORDS = re.compile(r"[^a-z0-9]+")


def folded(text: str) -> str:
    """The text in lower case without accents, in the plain form of each character, its words one space apart."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(text.casefold().split())


def folded_names(*names: str | None) -> str:
    """Names, each on a line of its own: `begins` and `is_whole` tell where in one something was found."""
    return "\n" + "".join(f"{folded(name)}\n" for name in dict.fromkeys(names) if name)


def folded_words(*texts: str) -> str:
    """The words of ASCII letters and digits in texts, each once and with a space before it."""
    words = _BETWEEN_WORDS.split(folded("\n".join(texts)))
    return "".join(f" {word}" for word in dict.fromkeys(words) if word)


def begins(names: str, needle: str) -> bool:
    """One of the names begins with the needle."""
    return f"\n{needle}" in names


def is_whole(names: str, needle: str) -> bool:
    """One of the names is the needle."""
    return f"\n{needle}\n" in names


def is_plain(word: str) -> bool:
    """Letters and digits of ASCII alone: a word to every tokenizer."""
    return word.isascii() and word.isalnum()
