"""Names of folders from names people give (docs/reference/on-disk-format.md).

Owns the normalisation that makes a `model_id` segment. Latin names give exactly what the existing Pumas library gives,
so that ids agree; where that library loses characters, and so gives one folder name to many models, a short digest of
the name is added.
"""

import hashlib
import re
import unicodedata

_MAX_LENGTH = 128
_KEEP_CUT_AFTER = 64
_DIGEST_LENGTH = 8
_DELETED = dict.fromkeys(map(ord, '<>:"/\\|?*'))
_WINDOWS_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def normalize_name(name: str) -> str:
    """The folder name for a family or a model's name: `[a-z0-9_-]`, at most 128 characters, never empty.

    Accents are taken off Latin letters; a name that has letters of another script ends in `_` and eight hexadecimal
    digits of its SHA-256, so that two such names never share a folder.
    """
    plain = _without_accents(name.lower())
    lost = any(not char.isascii() and unicodedata.category(char)[0] in "LNMS" for char in plain)
    cleaned = _clean(plain)
    if not lost:
        return cleaned or "unnamed_model"
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).hexdigest()
    stem = _cut(cleaned, _MAX_LENGTH - _DIGEST_LENGTH - 1) or "model"
    return f"{stem}_{digest[:_DIGEST_LENGTH]}"


def _without_accents(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    kept: list[str] = []
    for char in decomposed:
        # A combining mark goes only when it sits on a Latin letter: other scripts write different words with theirs.
        if unicodedata.combining(char) and kept and kept[-1].isascii():
            continue
        kept.append(char)
    return "".join(kept)


def _clean(name: str) -> str:
    name = name.replace(" ", "_").translate(_DELETED)
    name = re.sub(r"[^a-z0-9_-]", "_", name)
    name = re.sub(r"[-_]{2,}", "_", name).strip("-_")
    name = _cut(name, _MAX_LENGTH)
    return f"{name}_model" if name.upper() in _WINDOWS_RESERVED else name


def _cut(name: str, length: int) -> str:
    """At most `length`, ending at a word where that keeps more than half."""
    if len(name) <= length:
        return name
    name = name[:length]
    separator = max(name.rfind("-"), name.rfind("_"))
    if separator > _KEEP_CUT_AFTER:
        name = name[:separator]
    return name.strip("-_")
