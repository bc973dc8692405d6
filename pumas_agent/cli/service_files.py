"""The files that make the agent a service: systemd units and a launchd plist, for one machine. Pure, and writes none.

Owns their rendering and the mark by which a file that was written here, and not changed since, is known.
"""

import hashlib
import plistlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

UNIT, TEMPLATE, SOCKET, PLIST = (
    "pumas-agent.service",
    "pumas-agent@.service",
    "pumas-agent.socket",
    "com.pumas.agent.plist",
)
DEFAULT_SOCKET = "%t/pumas-agent/agent.sock"
SYSTEM_WORDS = ("--library", "%S/pumas-agent/%i/library", "--socket", "%t/pumas-agent/%i/agent.sock")
"""What the template says of places; the specifiers are systemd's."""
_MARK = "Written by `pumas-agent service`; sha256 "
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-+:@%=,~")


def user_unit(command: Sequence[str]) -> str:
    """The unit of a user; `command` without `run`."""
    return _template(UNIT).replace("@COMMAND@", _command([*command, "run"]))


def system_template(command: Sequence[str]) -> str:
    """The template of the system, an instance a user."""
    return _template(TEMPLATE).replace("@COMMAND@", f"{_command(command)} {' '.join(SYSTEM_WORDS)} run")


def socket_unit(path: Path | None) -> str:
    """The socket of the user's unit."""
    return _template(SOCKET).replace("@SOCKET@", DEFAULT_SOCKET if path is None else str(path).replace("%", "%%"))


def launchd_plist(command: Sequence[str], log: Path) -> str:
    """The agent of a user for launchd."""
    content = {
        "Label": "com.pumas.agent",
        "ProgramArguments": [*command, "run"],  # absolute: launchd has not the PATH of a shell
        "RunAtLoad": True,
        "KeepAlive": {"Crashed": True},  # not after an exit code: a wrong configuration stays wrong
        "ThrottleInterval": 10,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    return plistlib.dumps(content, sort_keys=False).decode()


def marked(text: str) -> str:
    """The text with the mark as its last line."""
    mark = f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()}"
    return f"{text}<!-- {mark} -->\n" if text.startswith("<?xml") else f"{text}# {mark}\n"


def is_ours(content: bytes) -> bool:
    """It was written here, and nobody changed it since."""
    body, newline, _ = content.rstrip(b"\n").rpartition(b"\n")
    try:
        return content == marked((body + newline).decode()).encode()
    except UnicodeDecodeError:
        return False


def _template(name: str) -> str:
    return (resources.files("pumas_agent.cli") / "units" / name).read_text(encoding="utf-8")


def _command(words: Sequence[str]) -> str:
    """As systemd reads it: specifiers and variables are meant literally, spaces and quotes are quoted."""
    first, *others = words
    return " ".join([_word(first), *(_word(word.replace("$", "$$")) for word in others)])


def _word(word: str) -> str:
    word = word.replace("%", "%%")
    if word and set(word) <= _PLAIN:
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
